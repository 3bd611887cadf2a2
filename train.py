"""Trains and tests one network as the configuration in conf/ says: `python train.py --help`."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ccnn.cli import attempt, attempt_job, left_out
from ccnn.cli.argv import in_order
from ccnn.config import validate


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(config: DictConfig) -> float | None:
    """Runs one experiment in the folder that Hydra made for it; returns the error that a search minimises."""
    launch = HydraConfig.get()
    folder = Path(launch.runtime.output_dir)

    def experiment() -> float | None:
        validate(config)
        if left_out(config):
            return None
        if config.task.startswith("benchmark"):
            from scripts.benchmark import measure_job

            measure_job(config, folder)
            return None
        if config.task == "evaluate":
            from ccnn.evaluation.run import evaluate

            if launch.mode is RunMode.MULTIRUN and (folder / "evaluation.json").exists():
                print(f"{folder}: is finished already.")
                return None
            evaluate(config, folder, launch.overrides.task)
            return None
        from ccnn.training.run import run  # takes seconds to import, so only for a valid configuration

        metrics = run(config, folder, launch.overrides.task, sweep=launch.mode is RunMode.MULTIRUN)
        return metrics["val/error"]

    return attempt_job(experiment, folder, config)


def main() -> None:
    """Does what the command line says."""
    sys.argv[1:] = in_order(sys.argv[1:])
    job()


def print_help() -> None:
    """Prints what Hydra would, without its composing the configuration and listing what our page does not show."""
    page = OmegaConf.load(Path(__file__).parent / "conf/hydra/help/ccnn.yaml")
    print(OmegaConf.create({"hydra": {"help": page}}).hydra.help.template)


if __name__ == "__main__":
    if sys.argv[1:] in (["--help"], ["-h"]):
        print_help()
        sys.exit()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra leaves its errors to us
    attempt(main, debug="debug=true" in sys.argv)
