"""How a command ends: where something went wrong with a message, an exit code other than 0, nothing left over."""

import atexit
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ccnn.command_line.explain import explain
from ccnn.errors import UserError
from ccnn.runs.folder import discard


def attempt_job(task: Callable[[], float | None], folder: Path, debug: bool) -> float | None:
    """Runs one job of Hydra and explains its mistake at once, so that each job of a sweep shows its own.

    Args:
        task: the job.
        folder: of the run, removed if the run never began.
        debug: show tracebacks.

    Returns:
        What the job returns.

    Raises:
        SystemExit: a single run failed by a mistake of the user.
        Exception: whatever `task` raised; a sweep goes on with its other jobs.
    """
    single = HydraConfig.get().mode is RunMode.RUN
    try:
        return task()
    except Exception as error:
        if not single:
            _note_failure(folder, error)
        told = not debug and _tell(error)
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
        """Notes the folder before it is made; ends a search that cannot be made (Hydra swallows other exceptions).

        Raises:
            SystemExit: after the message.
        """
        if problem := no_search(config):
            print(f"\nError: {problem}", file=sys.stderr)
            sys.exit(1)
        folder = Path(config.hydra.sweep.dir).resolve()
        atexit.register(discard, folder)
        atexit.register(_Summary(folder))


class _Summary:
    """The table at the end of a sweep, whose jobs may have run in other processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, os.getpid()
        (folder / _FAILURES).unlink(missing_ok=True)

    def __call__(self) -> None:
        path = self.folder / _FAILURES
        if os.getpid() != self.process or not path.is_file():
            return
        failures = dict(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        path.unlink()
        number = "1 job" if len(failures) == 1 else f"{len(failures)} jobs"
        print(f"\n{number} of the sweep failed; the same command runs what failed again:", file=sys.stderr)
        for name, message in failures.items():
            print(f"  {name}: {message}", file=sys.stderr)


_FAILURES = "failures.jsonl"
"""In a sweep's folder while it runs: a line for each job that failed, its name and the last line it said."""


def _note_failure(folder: Path, error: Exception) -> None:
    message = explain(error) or f"{type(error).__name__}: {error}"
    line = (message.strip().splitlines() or [type(error).__name__])[-1]
    try:
        with (folder.parent / _FAILURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps([folder.name, line]) + "\n")
    except OSError:
        pass  # a full disk, most likely: what is told to the user is the first error


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
    if message and not hasattr(error, "told"):
        print(f"\nError: {message}", file=sys.stderr)
        error.told = True  # type: ignore[attr-defined]  # a sweep raises it again at its end
    return message is not None
