"""How a command ends: where something went wrong with a message, an exit code other than 0, nothing left over."""

import atexit
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ccnn.cli.broken_pipe import keep_printing
from ccnn.cli.messages import DISK_FULL, explain
from ccnn.cli.rank_errors import rank, tell_others, told_by_another
from ccnn.cli.sweep import Sweep, noted
from ccnn.errors import UserError
from ccnn.runs.folder import discard


def attempt_job(task: Callable[[], float | None], folder: Path, config: DictConfig) -> float | None:
    """Runs one job of Hydra and explains its mistake at once, so that each job of a sweep shows its own.

    Args:
        task: the job.
        folder: of the run, removed if the run never began.
        config: of the job; with `debug` errors show their traceback.

    Returns:
        What the job returns.

    Raises:
        SystemExit: a single run failed by a mistake of the user.
        Exception: whatever `task` raised; a sweep goes on with its other jobs.
    """
    keep_printing()
    single = HydraConfig.get().mode is RunMode.RUN
    debug = config.get("debug") is True
    _be_quiet_about_full_disks(debug)
    began = time.time()
    try:
        if single:
            return task()
        with noted(folder, config, list(HydraConfig.get().overrides.task)):
            return task()
    except Exception as error:
        if isinstance(error, OSError) and _is_full_disk(error) and not error.filename:
            error.filename = str(folder)  # writing and closing do not say what they write
        if rank() and not getattr(error, "told", False):
            tell_others(folder, explain(error) or f"{type(error).__name__}: {error}")
        told = not debug and (told_by_another(folder, error, began) or _tell(error))
        if not told and not single:
            traceback.print_exc()  # Hydra shows that of the first failing job alone
        if told and single:
            sys.exit(1)
        raise
    finally:
        discard(folder)
        if not folder.exists():
            _log_no_more_to(folder)


def attempt(task: Callable[[], object], debug: bool) -> None:
    """Runs the whole program and explains what is wrong with its command line.

    Raises:
        SystemExit: the user made a mistake, or a signal stopped the program.
        Exception: any other failure of `task`; with `debug` every failure.
    """
    keep_printing()
    try:
        if any(re.match(r"\+?experiment=.*,", word) for word in sys.argv[1:]):
            raise UserError("experiment: a sweep has one of them, with axes of its own; run one after the other.")
        task()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug or not _tell(error):
            raise
        sys.exit(1)
    except BaseException as error:
        if not hasattr(error, "signal_number"):  # an Interrupted; importing it takes seconds
            raise
        if str(error):  # of several processes the first tells
            print(f"\n{error}", file=sys.stderr)
        sys.exit(128 + error.signal_number)


def left_out(config: DictConfig) -> bool:
    """Says whether `exclude` leaves this combination of choices out of a sweep; a list is any of its values."""
    choices = HydraConfig.get().runtime.choices
    combinations: Any = OmegaConf.to_container(config.exclude)
    for combination in combinations:
        chosen = {key: _chosen(config, choices, key) for key in combination}
        if all(
            chosen[key] == value or (isinstance(value, list) and chosen[key] in value)
            for key, value in combination.items()
        ):
            said = ", ".join(f"{key}={value}" for key, value in chosen.items())
            print(f"Left out of the sweep: {said}")
            return True
    return False


def _chosen(config: DictConfig, choices: Any, key: str) -> Any:
    return choices[key] if key in choices else OmegaConf.select(config, key)


def no_search(config: DictConfig) -> str | None:
    """Says why a search, a sweeper that looks for the lowest error, cannot be made with this configuration."""
    if config.hydra.sweeper._target_.endswith(".BasicSweeper"):
        return None
    if config.get("protocol") == "paper":
        return (
            "protocol: expected honest, got paper, with which a search would choose by the test error. Search "
            "with protocol=honest, then train with what it found and protocol=paper."
        )
    if OmegaConf.select(config, "data.validation_fraction") == 0:
        return (
            "data.validation_fraction: expected more than 0, got 0: a search chooses by the validation error. "
            "Leave it out, or try data.validation_fraction=0.1."
        )
    return None


class Tidy(Callback):
    """At the end of a sweep tells which jobs failed; removes its folder if none of them began."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Waits for the end of the sweep; ends a search that cannot be made (Hydra swallows other exceptions).

        Raises:
            SystemExit: after the message.
        """
        if problem := no_search(config):
            print(f"\nError: {problem}", file=sys.stderr)
            sys.exit(1)
        keep_printing()
        atexit.register(Sweep(config).close)


def _be_quiet_about_full_disks(debug: bool) -> None:
    """Lets nothing show a traceback of its own, again and again, for what ends the run with a message."""
    logging.raiseExceptions = debug
    if debug:
        return

    def threads(failure: Any) -> None:
        if not _is_full_disk(failure.exc_value):  # TensorBoard's writer raises it again where the run is
            threading.__excepthook__(failure)

    def destructors(failure: Any) -> None:
        if not _is_full_disk(failure.exc_value):
            sys.__unraisablehook__(failure)

    threading.excepthook, sys.unraisablehook = threads, destructors


def _is_full_disk(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_FULL


def _log_no_more_to(folder: Path) -> None:
    """Takes away the log file in a folder that is gone: a launcher may still want to write to it."""
    for handler in list(logging.root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).is_relative_to(
            folder.resolve()
        ):
            logging.root.removeHandler(handler)


def _tell(error: BaseException) -> bool:
    """Prints, once, what a user can do about an error; false if it is no mistake of theirs."""
    message = explain(error)
    if message and not getattr(error, "told", False):
        print(f"\nError: {message}", file=sys.stderr)
        error.told = True  # type: ignore[attr-defined]  # a sweep raises it again at its end
    return message is not None
