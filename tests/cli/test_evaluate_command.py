"""The command line of scripts/evaluate.py: a Hydra application of its own on the groups of train.py."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from command_lines import Outcome, Type
from evaluations import evaluation_of
from experiments import Run
from image_folders import write_images

from ccnn.cli import evaluate
from ccnn.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")


@pytest.fixture
def score(type_in: Type) -> Callable[..., Outcome]:
    """Types `python scripts/evaluate.py …`."""
    return lambda *arguments: type_in(evaluate.main, *arguments)


def test_methods_borders_and_limits_are_keys_of_the_group_evaluation() -> None:
    config, run, _ = evaluation_of(
        "evaluation.samplings=[naive,lattice,complete]",
        "evaluation.borders=[zeros,replicate]",
        "evaluation.limit=9",
    )
    assert (config.evaluation.samplings, run) == (["naive", "lattice", "complete"], None)
    assert (config.evaluation.borders, config.evaluation.limit) == (["zeros", "replicate"], 9)


def test_a_chosen_sampling_is_the_one_to_score_unless_a_list_is_given() -> None:
    assert evaluation_of()[0].evaluation.samplings == ["naive", "lattice"]
    assert evaluation_of("sampling=complete")[0].evaluation.samplings == ["complete"]
    both, _, _ = evaluation_of("sampling=complete", "evaluation.samplings=[naive]")
    assert both.evaluation.samplings == ["naive"]


def test_a_run_brings_its_own_data_and_keys_of_its_data_can_follow_their_name(run: Run, tmp_path: Path) -> None:
    run("data=digits", "data.mean=[0.25]", "callbacks=none", "model.dropout=0.125")
    folder = f"run={tmp_path / 'run'}"
    config, found, checkpoint = evaluation_of(folder, "data=digits", "data.std=[0.5]", "sampling=lattice")
    assert (found, checkpoint) == (tmp_path / "run", None)
    assert (config.data.mean, config.data.std, config.model.dropout) == ([0.25], [0.5], 0.125)
    assert (config.sampling.name, config.evaluation.samplings) == ("lattice", ["lattice"])
    for override in ("model=toy", "data=cifar10", "seed=1", "~data.mean"):
        key = override.partition("=")[0]
        with pytest.raises(
            UserError, match=f"^{key}: cannot be changed, run=.* brings its own; remove {override}"
        ):
            evaluation_of(folder, override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("modle=torchvision", "modle: there is no such key; did you mean model"),
        ("limt=3", "limt: there is no such key; did you mean evaluation.limit"),
        ("model=resnet5", "model: there is no choice 'resnet5'"),
        ("sampling=latice", "sampling: there is no choice 'latice'; did you mean 'lattice'"),
        ("sampling=naive,lattice", "Ambiguous value for argument 'sampling=naive,lattice'"),
        (
            "evaluation.samplings=[latice]",
            "evaluation.samplings: expected a list of traditional, naive, lattice, ",
        ),
        ("sampling=random", "evaluation.samplings: expected a list of traditional, naive"),
        ("data.eval_batch_size=0", "data.eval_batch_size: expected an integer ≥ 1"),
        ("run=nowhere", "run: nowhere is no folder; expected one such as those in outputs/runs"),
        ("run=no.ckpt", "run: no.ckpt: there is no such file; expected a run's folder or one of its"),
        ("data=digits", "model.weights: toy would be scored with random weights"),
        (
            "model=torchvision model.name=resnet50 model.weights=no.pth data=imagenet",
            "model.weights: there is no file 'no.pth'",
        ),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_written(
    overrides: str, message: str, score: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = score(*overrides.split())
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("Error: ") == 1
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.glob("outputs/*/*"))


def test_a_network_is_scored_as_typed_and_a_damaged_image_is_named(
    score: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_images(tmp_path / "imagenet", classes=3, train=0, val=4)
    torch.save(torchvision.models.squeezenet1_1(num_classes=3).state_dict(), tmp_path / "weights.pth")
    overrides = ("model=torchvision", "model.name=squeezenet1_1", "model.weights=weights.pth", "data=imagenet",
                 "data.root=imagenet", "data.num_classes=3", "data.crop=64", "data.resize=64",
                 "data.num_workers=0", "data.eval_batch_size=5", "evaluation.device=cpu")  # fmt: skip
    outcome = score(*overrides, "sampling=lattice", "output=out")
    assert (outcome.code, outcome.err) == (0, "")
    assert "12 of 12 images" in outcome.out
    written = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert [network["sampling"] for network in written["networks"]] == [None, "lattice"]
    assert f"{written['networks'][1]['top1_error']:.2f}" in outcome.out
    assert "already" in score(*overrides, "sampling=lattice", "output=out").err

    sweep = ("-m", *overrides, "sampling=naive,lattice", "sweep=s")
    assert score(*sweep).code == 0
    assert len(list(tmp_path.glob("outputs/evaluations/s/*/evaluation.json"))) == 2
    assert score(*sweep).out.count("already finished") == 2

    (tmp_path / "imagenet/val/n02/1.png").write_bytes(b"no image")
    shutil.rmtree(tmp_path / "outputs")
    outcome = score(*overrides, "sampling=lattice", "output=again")
    assert outcome.code == 1
    assert outcome.err.startswith("\nError: imagenet/val/n02/1.png: ")
    assert not (tmp_path / "again").exists()
