"""Fixtures that compose the real configuration, shrunk to seconds."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest
import torch
from experiments import RANDOM, SMALL, Compose, Run, signal_at
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
from ccnn.config import CONF, validate
from ccnn.runs import allowed_targets

pytest_plugins = ["command_lines"]


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests' own module defines may be built from a saved configuration."""
    usual = allowed_targets._usual
    monkeypatch.setattr(
        allowed_targets, "_usual", lambda target: target.startswith("experiments.") or usual(target)
    )


@pytest.fixture
def compose() -> Iterator[Compose]:
    """Composes conf/config.yaml with overrides, as the command line does."""

    def compose_config(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra_compose("config", overrides=list(overrides))

    yield compose_config
    GlobalHydra.instance().clear()


@pytest.fixture
def run(compose: Compose, tmp_path: Path) -> Iterator[Run]:
    """Runs a small experiment on the digits in `tmp_path / folder`; returns its metrics."""
    from ccnn.training.run import run as run_experiment

    def run_small(*overrides: str, folder: str = "run") -> dict[str, Any]:
        config = compose(*SMALL, *overrides)
        validate(config)
        return run_experiment(config, tmp_path / folder, overrides)

    yield run_small
    torch.use_deterministic_algorithms(False)  # the Trainer leaves it on


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of four steps that was never interrupted, trained once; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    _train(folder, *signal_at(99))
    return folder


@pytest.fixture(scope="session")
def _stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ccnn.runs.signals import Interrupted

    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        _train(folder, *signal_at(5, SIGINT))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGINT)}", "number: 0"))  # not once more
    return folder


@pytest.fixture
def stopped(_stopped_once: Path, tmp_path: Path) -> Path:
    """The same run, interrupted in its second epoch, in a folder of the test's own."""
    return Path(shutil.copytree(_stopped_once, tmp_path / "stopped"))


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    """The run that was never interrupted, in a folder of the test's own."""
    return Path(shutil.copytree(whole, tmp_path / "finished"))


def _train(folder: Path, *overrides: str) -> None:
    from ccnn.training.run import run as run_experiment

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra_compose("config", overrides=[*SMALL, *RANDOM, *overrides])
    run_experiment(config, folder, (*RANDOM, *overrides))
    torch.use_deterministic_algorithms(False)  # the Trainer leaves it on
