"""What a run writes about itself before and after its training, whether it finishes or not."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, read_write
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from ccnn.errors import UserError
from ccnn.files import shorter
from ccnn.runs.allowed_targets import needs_trust
from ccnn.runs.checkpoints import remove_damaged
from ccnn.runs.folder import begin, clear, other_environment
from ccnn.runs.resuming import Start
from ccnn.runs.signals import Interrupted
from ccnn.runs.status import FAILED, INTERRUPTED, read_status, write_status
from ccnn.training.console import plain_console


@contextmanager
def recorded(
    start: Start, trainer: pl.Trainer, overrides: Sequence[str], conversion: str | None, sweep: bool
) -> Iterator[None]:
    """Writes what the run begins with, and how it ends if it does not finish; closes its loggers."""
    folder = start.folder
    try:
        if trainer.is_global_zero:
            start.occupy()
            if start.checkpoint is None:
                clear(folder)
            else:
                remove_damaged(start.checkpoint)
                if differing := other_environment(folder):
                    plain_console().print(differing)
            begin(folder, start.config, overrides, conversion)
            if HydraConfig.initialized():  # the processes that a strategy starts log there: Lightning tells them
                hydra: Any = HydraConfig.get()
                with read_write(hydra):
                    hydra.run.dir = str(folder)
        yield
    except BaseException as error:
        if isinstance(error, Interrupted):
            _explain(error, trainer, start, sweep)
        if trainer.is_global_zero and (folder / "config.yaml").exists() and not (folder / "metrics.json").exists():
            _note(folder, error)
        raise
    finally:
        _finish(trainer.loggers)


def _explain(stopped: Interrupted, trainer: pl.Trainer, start: Start, sweep: bool) -> None:
    """Gives the message of an interruption what there is to do; of several processes only the first has one."""
    how = "Nothing was saved yet."
    if stopped.saved:
        trust = " trust=true" if needs_trust(OmegaConf.to_container(start.config, resolve=True)) else ""
        program = "ccnn-train" if Path(sys.argv[0]).stem == "ccnn-train" else "python train.py"
        command = "the same command again" if sweep else f"{program} resume={shorter(start.folder)}{trust}"
        how = f"To go on: {command}"
    where = f"Interrupted in epoch {trainer.current_epoch + 1}, step {trainer.global_step}."
    stopped.message = " ".join(filter(None, [where, stopped.lost, how])) if trainer.is_global_zero else ""


def _note(folder: Path, error: BaseException) -> None:
    """Writes down how a run ended that did not finish."""
    stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
    last = (str(error).strip().splitlines() or [""])[-1]
    message = last if isinstance(error, UserError) else f"{type(error).__name__}: {last}".removesuffix(": ")
    with suppress(OSError):  # a full disk, most likely: the user sees the first error
        # A status of another rank names the cause; this process only lost its connection to it.
        if not (read_status(folder).error or "").startswith("rank"):
            write_status(folder, INTERRUPTED if stopped else FAILED, None if stopped else message)


def _finish(loggers: Sequence[Logger]) -> None:
    """Ends the runs of online services: the next job of a sweep would log into the same one."""
    for logger in loggers:
        if finish := getattr(getattr(logger, "experiment", None), "finish", None):
            finish()


def log_result(trainer: pl.Trainer, hyperparameters: dict[str, Any], test_error: float) -> None:
    """Gives TensorBoard parameters and result together, as its HPARAMS tab takes them."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            result = {"hp/test_error": test_error}
            logger.log_hyperparams(hyperparameters, result, step=trainer.global_step)  # cut, if a run is resumed
            logger.save()
