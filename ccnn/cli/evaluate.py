"""The command ccnn-evaluate, which is scripts/evaluate.py of a checkout: scores a network with given weights."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ccnn.cli.errors import explains_errors, run_command
from ccnn.config import CONF, validate
from ccnn.errors import UserError
from ccnn.runs.allowed_targets import check_targets
from ccnn.runs.folder import saved_config

_OWN_KEYS = ("run", "output", "evaluation", "debug", "sweep", "trust")
"""What is not part of a run: `evaluate` takes it from the command line, also with `run=FOLDER`."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
@explains_errors
def evaluate(config: DictConfig) -> None:
    """Scores the network of a configuration."""
    evaluate_network(config)


def main() -> None:
    """Runs the command line."""
    run_command(evaluate, help_page="evaluate")


def evaluate_network(config: DictConfig) -> None:
    """Scores the network of a job of Hydra, in the job's folder; a job of a sweep that has a result is skipped."""
    launch = HydraConfig.get()
    folder, overrides = Path(launch.runtime.output_dir), list(launch.overrides.task)
    config, run, checkpoint = evaluation_config(config, overrides)
    validate(config)
    if launch.mode is RunMode.MULTIRUN and (folder / "evaluation.json").exists():
        print(f"{folder}: already finished.")
        return
    from ccnn.evaluation.run import evaluate  # imports torch, so only for a valid configuration
    from ccnn.report.evaluation import present

    present(evaluate(config, folder, overrides, run, checkpoint), folder)


def evaluation_config(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None, Path | None]:
    """Completes a configuration composed from conf/evaluate.yaml.

    With `run=FOLDER`, data, network and sampling are those of the run. The command line may still change single
    keys of data and sampling, such as where the images are, or choose another sampling.

    Args:
        config: composed.
        overrides: what was typed.

    Returns:
        What to evaluate, the run's folder, and its checkpoint: None for the best, or the last if there is no best.

    Raises:
        UserError: there is no such run, or it would no longer be that run.
    """
    typed = {override.lstrip("+").partition("=")[0]: override for override in overrides}
    config = config.copy()
    with open_dict(config):
        path = config.pop("run", None)
        if "output" in config:
            del config["output"]
        if "sampling" in typed and "evaluation.samplings" not in typed:
            # A method of the user's own is scored whatever the list says, which has names of ccnn's alone.
            own = config.sampling._target_ != "ccnn.Sampling"
            config.evaluation.samplings = [] if own else [config.sampling.name]
    if path is None:
        return config, None, None

    run, checkpoint = Path(path), None
    if run.suffix == ".ckpt":
        if not run.is_file():
            raise UserError(
                f"run: {run}: there is no such file; expected a run's folder or one of its checkpoints."
            )
        run, checkpoint = run.resolve().parents[1], run
    saved = saved_config("run", run)
    if not config.trust:
        built = OmegaConf.masked_copy(saved, ["data", "model", "sampling"])
        check_targets("run", OmegaConf.to_container(built), OmegaConf.to_container(config))
    for key, override in typed.items():
        group = key.partition(".")[0]
        # A choice of data set names the run's own, so that the keys of its group can follow it.
        if group in _OWN_KEYS or (key == "data" and config.data.name == saved.data.name):
            continue
        if group not in ("data", "sampling") or key == "data":
            raise UserError(f"{key}: cannot be changed, run={path} brings its own; remove {override}.")
        # Without merging: the run's sampling may have arguments that the one that replaces it does not take.
        OmegaConf.update(saved, key, OmegaConf.select(config, key), merge=False, force_add=True)
    saved.evaluation = config.evaluation
    for key in set(config) - set(saved):  # of a program newer than the run
        saved[key] = config[key]
    return saved, run, checkpoint
