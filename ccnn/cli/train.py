"""The command ccnn-train, which is train.py of a checkout: one run, or with -m a sweep of them."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ccnn.cli.errors import explains_errors, run_command
from ccnn.cli.evaluate import evaluate_network
from ccnn.cli.sweep import is_excluded
from ccnn.config import CONF, validate


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@explains_errors
def train(config: DictConfig) -> float | None:
    """Runs the task of a configuration; returns the validation error, which a search minimises."""
    validate(config)
    if is_excluded(config):
        return None
    launch = HydraConfig.get()
    folder, overrides = Path(launch.runtime.output_dir), list(launch.overrides.task)

    # Imported here, because torch and Lightning take seconds that a wrong configuration should not wait for.
    if config.task == "evaluate":
        evaluate_network(config)
        return None
    if config.task.startswith("benchmark"):
        from ccnn.benchmark.job import run_job

        run_job(config, folder)
        return None
    from ccnn.training.run import run

    metrics = run(config, folder, overrides, sweep=launch.mode is RunMode.MULTIRUN)
    return metrics["val/error"]


def main() -> None:
    """Runs the command line."""
    run_command(train, help_page="train")
