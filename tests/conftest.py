"""Fixtures that compose the real configuration, shrunk to seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments import SMALL, Compose, Run
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
