"""How a command ends when something goes wrong: one message, a non-zero exit code, nothing left behind."""

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ccnn.cli.help import shows_help
from ccnn.cli.messages import explain, is_full_disk
from ccnn.cli.rank_errors import is_shown_by_another, publish, rank
from ccnn.cli.streams import protect_output
from ccnn.cli.sweep import recorded
from ccnn.runs.folder import discard


def run_command(command: Callable[[], object], help_page: str | None = None) -> None:
    """Runs a whole program and explains what is wrong with its command line.

    Args:
        command: the program; a function that `hydra.main` made, for instance.
        help_page: the file of conf/hydra/help that `--help` shows.

    Raises:
        SystemExit: the user made a mistake, or a signal stopped the program.
        Exception: any other failure of `command`; every failure with `debug=true`.
    """
    protect_output()
    if help_page and shows_help(help_page, sys.argv[1:]):
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them itself
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if "debug=true" in sys.argv or not _show(error):
            raise
        sys.exit(1)
    except BaseException as error:
        if not hasattr(error, "signal_number"):  # runs.signals.Interrupted, whose import would take seconds
            raise
        if str(error):  # empty in all processes of a training except the first
            print(f"\n{error}", file=sys.stderr)
        sys.exit(128 + error.signal_number)


def explains_errors(job: Callable[[DictConfig], float | None]) -> Callable[[DictConfig], float | None]:
    """Decorates a job of Hydra: its error becomes a message at once, and its folder goes if the run never began.

    A single run then ends the program. A job of a sweep is recorded for the list at the end and raises its error
    again: Hydra collects it and starts the next job.
    """

    @wraps(job)
    def attempt(config: DictConfig) -> float | None:
        protect_output()  # again, because a launcher may run the job in another process
        launch = HydraConfig.get()
        folder, debug = Path(launch.runtime.output_dir), config.get("debug") is True
        single = launch.mode is RunMode.RUN
        _silence_full_disks(debug)
        began = time.time()
        try:
            with nullcontext() if single else recorded(folder, config):
                return job(config)
        except Exception as error:
            if is_full_disk(error) and isinstance(error, OSError) and not error.filename:
                error.filename = str(folder)  # a failing write does not say what it wrote
            if rank() and not _is_shown(error):
                publish(folder, explain(error) or f"{type(error).__name__}: {error}")
            shown = not debug and (is_shown_by_another(folder, error, began) or _show(error))
            if single and shown:
                sys.exit(1)
            if not single and not shown:
                traceback.print_exc()  # Hydra shows that of the first failing job alone
            raise
        finally:
            discard(folder)
            if not folder.exists():
                _close_log(folder)

    return attempt


def _show(error: BaseException) -> bool:
    """Prints, once, what a user can do about an error; false if it is not a mistake of theirs."""
    message = explain(error)
    if message and not _is_shown(error):
        print(f"\nError: {message}", file=sys.stderr)
        error.shown = True  # type: ignore[attr-defined]  # Hydra raises it again at the end of a sweep
    return message is not None


def _is_shown(error: BaseException) -> bool:
    return getattr(error, "shown", False)


def _silence_full_disks(debug: bool) -> None:
    """Keeps logging, threads and destructors from printing tracebacks for what the run's message explains."""
    logging.raiseExceptions = debug
    if debug:
        return

    def except_full_disks(hook: Callable[[Any], object]) -> Callable[[Any], object]:
        return lambda failure: None if is_full_disk(failure.exc_value) else hook(failure)

    # TensorBoard's writing thread raises what it also raises in the run's own thread.
    threading.excepthook = except_full_disks(threading.__excepthook__)
    sys.unraisablehook = except_full_disks(sys.__unraisablehook__)


def _close_log(folder: Path) -> None:
    """Removes the log file of a folder that is gone, since a launcher may still want to write to it."""
    for handler in list(logging.root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder.absolute():
            logging.root.removeHandler(handler)
