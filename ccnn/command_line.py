"""How a mistake on the command line ends: with a message, exit code 1 and nothing left behind."""

import atexit
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from ccnn.explain import explain
from ccnn.run_folder import discard


def attempt_job(task: Callable[[], object], folder: Path, debug: bool) -> None:
    """Runs one job of Hydra and explains its mistake at once, so that each job of a sweep shows its own.

    Args:
        task: the job.
        folder: of the run, removed if the run never began.
        debug: show tracebacks.

    Raises:
        SystemExit: a single run failed by a mistake of the user.
        Exception: whatever `task` raised; a sweep goes on with its other jobs.
    """
    try:
        task()
    except Exception as error:
        discard(folder)
        if not debug and _tell(error) and HydraConfig.get().mode is RunMode.RUN:
            sys.exit(1)
        raise


def attempt(task: Callable[[], object], debug: bool) -> None:
    """Runs the whole program and explains what is wrong with its command line.

    Raises:
        SystemExit: the user made a mistake.
        Exception: any other failure of `task`; with `debug` every failure.
    """
    try:
        task()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug or not _tell(error):
            raise
        sys.exit(1)


class Tidy(Callback):
    """Has Hydra's folder of a sweep removed in the end if none of its jobs began."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes the folder before it is made."""
        atexit.register(discard, Path(config.hydra.sweep.dir).resolve())


def _tell(error: BaseException) -> bool:
    """Prints, once, what a user can do about an error; false if it is no mistake of theirs."""
    message = explain(error)
    if message and not hasattr(error, "told"):
        print(f"\nError: {message}", file=sys.stderr)
        error.told = True  # type: ignore[attr-defined]  # a sweep raises it again at its end
    return message is not None
