"""The worked search with Optuna: a trial that fails does not end it, and it never chooses by the test error."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import Type
from omegaconf import OmegaConf
from processes import Nursery
from run_results import metrics

from ccnn.cli import train

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
pytestmark = pytest.mark.slow

SEARCH = ("-m", "experiment=search", "trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=2",
          "callbacks.pictures=null", "trainer.log_every_n_steps=1")  # fmt: skip


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def test_it_finds_the_lowest_validation_error(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2")
    assert command.code == 0, command.err
    folder = tmp_path / "outputs/sweeps/search"
    runs = [path.parent for path in folder.glob("*/metrics.json")]
    assert len(runs) == 2
    found = OmegaConf.load(folder / "optimization_results.yaml")
    assert found.best_value == min(metrics(run)["val/error"] for run in runs)
    assert set(found.best_params) == {"optimizer.lr", "optimizer.weight_decay"}


def test_a_trial_that_diverges_does_not_end_it(nursery: Nursery, tmp_path: Path) -> None:
    values = "hydra.sweeper.params={optimizer.lr:'choice(1e30,0.1)'}"
    command = nursery.train(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4", values)
    assert "Training diverged" in command.err
    assert "Traceback" not in command.out + command.err
    folder = tmp_path / "outputs/sweeps/search"
    states = [json.loads(path.read_text())["state"] for path in folder.glob("*/status.json")]
    assert len(states) == 4
    assert set(states) == {"failed", "finished"}
    assert OmegaConf.load(folder / "optimization_results.yaml").best_params["optimizer.lr"] == 0.1


def test_it_says_that_all_trials_failed(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2", "seed=-1")
    assert command.code == 1
    assert "Error: The search found nothing: each of its trials failed" in command.err
    assert "Traceback" not in command.out + command.err


@pytest.mark.parametrize(
    ("override", "got"),
    [("protocol=paper", "got paper and 0"), ("data.validation_fraction=0", "honest and 0.")],
)
def test_without_validation_images_it_ends_before_any_trial(
    override: str, got: str, type_in: Type, tmp_path: Path
) -> None:
    command = type_in(train.main, *SEARCH, override)
    assert command.code == 1
    assert command.err.count("Error: A search chooses by the validation error: it needs protocol=honest") == 1
    assert got in command.err
    assert not list(tmp_path.rglob("*.json"))
