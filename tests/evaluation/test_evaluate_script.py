"""The command line of scripts/evaluate.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from image_folders import write_images

from ccnn.cli.evaluate import HELP, job
from ccnn.config import CONF, validate
from ccnn.errors import UserError

SCRIPT = CONF.parent / "scripts/evaluate.py"


def type_in(folder: Path, *words: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "default", "PYTHONPATH": str(CONF.parent)}
    command = [sys.executable, *python, str(SCRIPT), *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_short_words_stand_for_keys() -> None:
    asked = job(["sampling=naive,lattice,complete", "sampling.border=zeros,replicate", "sampling.skip_first=1",
                 "limit=1000", "batch_size=7", "device=cpu", "precision=bf16-mixed", "output=here"])  # fmt: skip
    validate(asked.config)
    assert asked.config.evaluation == {
        "samplings": ["naive", "lattice", "complete"], "borders": ["zeros", "replicate"], "limit": 1000,
        "device": "cpu", "precision": "bf16-mixed",
    }  # fmt: skip
    assert asked.config.sampling.skip_first == 1
    assert asked.config.data.eval_batch_size == 7
    assert (asked.folder, asked.run) == (Path("here"), None)


def test_a_single_border_and_custom_samplers_go_to_the_sampling_group() -> None:
    asked = job(["sampling=custom", "sampling.border=replicate", "sampling.samplers=[[[0,1],[1,0]]]"])
    validate(asked.config)
    assert asked.config.sampling.border == "replicate"
    assert asked.config.evaluation.borders is None
    assert asked.config.sampling.samplers == [[[0, 1], [1, 0]]]


def test_results_go_to_a_folder_of_their_own_unless_told_otherwise() -> None:
    folder = job(["model=torchvision", "model.name=resnet50", "data=imagenet"]).folder
    assert folder.parent == Path("outputs/evaluations")
    assert folder.name.startswith("imagenet_resnet50_2")


@pytest.mark.parametrize("word", ["-m", "--sampling=naive", "run=", "output="])
def test_words_that_mean_nothing_are_refused(word: str) -> None:
    with pytest.raises(UserError, match=f"^{word.rstrip('=')}"):
        job([word])


def test_help_needs_no_torch_and_names_every_short_word(tmp_path: Path) -> None:
    result = type_in(tmp_path, "--help", python=("-X", "importtime"))
    assert result.stdout == HELP
    assert result.stdout.count("python scripts/evaluate.py ") >= 5
    assert max(map(len, HELP.splitlines())) <= 115
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hydra" in modules
    assert not {"torch", "torchvision", "pytorch_lightning"} & modules
    for word in ("run=", "sampling=", "limit=", "batch_size=", "device=", "precision=", "output=", "debug="):
        assert f"\n  {word}" in HELP


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=torchvision"], "modle: there is no such key; did you mean model"),
        (["limt=3"], "limt: there is no such key; did you mean evaluation.limit"),
        (["model=resnet5"], "model: there is no choice 'resnet5'"),
        (["sampling=latice"], "evaluation.samplings: there is no choice 'latice'; did you mean 'lattice'"),
        (["batch_size=0"], "data.eval_batch_size: expected an integer ≥ 1"),
        (["run=nowhere"], "run: nowhere is no folder; expected one such as those in outputs/runs"),
        ([], "Usage"),
        (["data=digits"], "model.weights: toy would be scored with random weights"),
        (
            ["model=torchvision", "model.name=resnet50", "model.weights=no.pth", "data=imagenet"],
            "model.weights: there is no file 'no.pth'",
        ),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_written(
    words: list[str], message: str, tmp_path: Path
) -> None:
    result = type_in(tmp_path, *words)
    assert result.returncode == (1 if words else 0)
    assert message in (result.stderr if words else result.stdout)
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(tmp_path.glob("outputs/*/*"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = type_in(tmp_path, "limit=0", "debug=true")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.slow
def test_it_works_as_typed_with_workers_and_names_a_damaged_image(tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", classes=3, train=0, val=4)
    torch.save(torchvision.models.squeezenet1_1(num_classes=3).state_dict(), tmp_path / "weights.pth")
    words = ["model=torchvision", "model.name=squeezenet1_1", "model.weights=weights.pth", "data=imagenet",
             "data.root=imagenet", "data.num_classes=3", "data.crop=64", "data.resize=64", "data.num_workers=2",
             "batch_size=5", "device=cpu", "sampling=lattice"]  # fmt: skip
    result = type_in(tmp_path, *words, "output=out")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\n12 of 12 images, 0 s left\n" in result.stdout
    assert "a file does not tell, but for data.resize, data.crop" in result.stdout
    written = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert f"{written['networks'][1]['top1_error']:.2f}" in result.stdout
    assert written["networks"][1]["top5_error"] is None  # of three classes
    (tmp_path / "imagenet/val/n02/1.png").write_bytes(b"no image")
    result = type_in(tmp_path, *words, "output=again")
    assert result.returncode == 1
    assert (
        result.stderr == "\nError: imagenet/val/n02/1.png: cannot be read as an image: its content is none. "
        "Replace the file.\n"
    )
    assert not (tmp_path / "again").exists()
