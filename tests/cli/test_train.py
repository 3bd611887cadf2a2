"""The command line, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from experiments import SMALL
from omegaconf import OmegaConf

from ccnn.config import CONF

pytestmark = pytest.mark.slow

TRAIN = CONF.parent / "train.py"


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Types `python train.py …` in an empty folder."""
    command = [sys.executable, str(TRAIN), *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": "default", "COLUMNS": "100"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=resnet5"], "model: there is no choice 'resnet5'; did you mean 'resnet50'"),
        (["data.batch_size=-1", "seed=x"], "seed: expected an integer"),
        (["+model.widht=3"], "model.widht: ccnn.models.Toy takes no such argument"),
        (["data=mnist", "data.root=nowhere", "data.download=false"], "data=digits needs no download"),
        (["-m", "seed=0,1", "modle=toy"], "modle: there is no such key"),
        (["-m", "seed=-1,-2"], "seed: expected an integer from 0 to 4294967295, got -2"),
        (["hydra.run.dir=/dev/null/run"], "/dev/null/run: cannot be used: Not a directory"),
        (["trainer=cpu", "+trainer.gradient_clip_algorithm=steepest"], "trainer: "),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_written(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = train(tmp_path, *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.glob("outputs/*/*"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = train(tmp_path, "seed=-1", "debug=true")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "UserError: seed: expected" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--cfg", "job"], ["--help", "model=resnet18"]])
def test_help_and_the_configuration_are_shown_without_importing_torch(
    arguments: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", str(TRAIN), *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    if "--cfg" in arguments:
        assert OmegaConf.create(result.stdout).model.name == "toy"
    else:
        assert "resnet50" in result.stdout
        assert result.stdout.count("python train.py ") >= 5
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hydra" in modules
    assert not {"torch", "pytorch_lightning"} & modules


def test_help_is_what_hydra_prints(tmp_path: Path) -> None:
    short, whole = (train(tmp_path, "--help", *more) for more in ([], ["model=toy"]))  # Hydra answers the second
    assert short.returncode == whole.returncode == 0
    assert short.stdout == whole.stdout


def test_a_sweep_gives_every_job_its_folder_and_outlives_a_failing_one(tmp_path: Path) -> None:
    small = [argument for argument in SMALL if "max_epochs" not in argument]
    result = train(tmp_path, "-m", "convert=false,true", "seed=-1,0", "trainer.max_epochs=1", *small)
    assert result.returncode == 1
    assert "seed: expected an integer" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    (sweep,) = (tmp_path / "outputs/sweeps").iterdir()
    refused, folders = (sorted(sweep.glob(f"*_seed{seed}_*")) for seed in (-1, 0))
    assert [path.name.split("_seed0_")[0] for path in folders] == ["digits_toy_ccnn-naive", "digits_toy_cnn"]
    assert [json.loads((path / "status.json").read_text())["state"] for path in refused] == ["failed"] * 2
    ccnn, cnn = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    assert ccnn["convert"]
    assert not cnn["convert"]
    assert ccnn["multiply_adds"] > cnn["multiply_adds"]


def test_a_single_run_works_as_typed_and_warns_of_nothing(tmp_path: Path) -> None:
    result = train(tmp_path, "convert=true", *SMALL)
    assert result.returncode == 0
    assert result.stderr == ""
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    assert "digits_toy_ccnn-naive_seed0" in folder.name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['test/error']:.2f} %" in result.stdout
    assert str(folder.relative_to(tmp_path)) in result.stdout
    assert (folder / "train.log").exists()
    assert not (folder / ".hydra").exists()
