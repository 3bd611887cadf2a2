"""Composes and runs evaluations as `python scripts/evaluate.py …` does, in this process."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from ccnn.cli.evaluate import evaluation_config
from ccnn.config import CONF, validate
from ccnn.evaluation.record import EvaluationRecord
from ccnn.evaluation.run import evaluate


def evaluation_of(*overrides: str) -> tuple[DictConfig, Path | None, Path | None]:
    """What these overrides ask for: the configuration, the run and its checkpoint."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config, run, checkpoint = evaluation_config(compose("evaluate", list(overrides)), overrides)
    validate(config)
    return config, run, checkpoint


def evaluated(folder: Path, *overrides: str) -> EvaluationRecord:
    """Scores what these overrides ask for."""
    config, run, checkpoint = evaluation_of(*overrides)
    return evaluate(config, folder, overrides, run, checkpoint)
