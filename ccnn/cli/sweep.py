"""What became of the jobs of a sweep: jobs.log in its folder, and the list of failures at the end."""

import atexit
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ccnn.cli.messages import explain
from ccnn.cli.streams import protect_output
from ccnn.errors import UserError
from ccnn.files import shorter
from ccnn.runs.folder import discard
from ccnn.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, read_status, write_status

_LOG = "jobs.log"
_BEGUN = "begins"

_UNSTARTED = {"config.yaml", "status.json"}
"""All that is left of a job that failed before it began, so that a report can name it."""


class Summary(Callback):
    """Lists at the end of a sweep which jobs did not finish; removes the sweep's folder if none of them began."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks the sweep as a whole, and arranges for the list.

        Raises:
            SystemExit: after the message; Hydra only logs other exceptions of a callback.
        """
        protect_output()
        if problem := _problem(config):
            print(f"\nError: {problem}", file=sys.stderr)
            sys.exit(1)
        self.folder, self.process = Path(config.hydra.sweep.dir).absolute(), os.getpid()
        self.earlier = len(_read(self.folder))
        # At exit, because Hydra calls on_multirun_end only if no job failed and no signal arrived.
        atexit.register(self.close)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Says what to do with a complete sweep."""
        report = "ccnn-report" if Path(sys.argv[0]).stem == "ccnn-train" else "python scripts/report.py"
        print(f"\nEvery job of the sweep is finished. Their table: {report} {shorter(self.folder)}")

    def close(self) -> None:
        """Prints the list."""
        if os.getpid() != self.process:
            return  # a forked child
        last = {line["job"]: line for line in _read(self.folder)[self.earlier :]}
        unfinished = {job: self._reason(line) for job, line in last.items() if line["state"] != FINISHED}
        if unfinished:
            print(f"\nNot finished, {len(unfinished)} of {len(last)} jobs that began:", file=sys.stderr)
            print(*(f"  {job}: {reason}" for job, reason in unfinished.items()), sep="\n", file=sys.stderr)
            print("The same command repeats what failed and continues the rest.", file=sys.stderr)
        jobs = [path for path in self.folder.glob("*") if path.is_dir()]
        if all(map(_never_began, jobs)):
            for job in jobs:
                shutil.rmtree(job)
            (self.folder / _LOG).unlink(missing_ok=True)
            discard(self.folder)

    def _reason(self, line: dict[str, Any]) -> str:
        if line["state"] != _BEGUN:
            return line["error"] or line["state"]
        if (
            read_status(self.folder / line["job"]).state == RUNNING
        ):  # in a launcher's process that outlives this one
            return "still running"
        return "was killed (out of memory?), preempted, or exceeded the launcher's timeout"


@contextmanager
def recorded(folder: Path, config: DictConfig) -> Iterator[None]:
    """Records the beginning and the end of a job of a sweep.

    A job that was killed twice is left out once: the default launcher dies with it, and would never reach the jobs
    after it. The next command tries it again.

    Args:
        folder: of the job.
        config: of the job.

    Raises:
        UserError: it was killed twice before it had saved anything new, or it called `sys.exit`.
        Exception: what the job raises.
    """
    kills = _kills(folder)
    if _never_began(folder):  # what failed before may be right now
        for name in _UNSTARTED:
            (folder / name).unlink(missing_ok=True)
    _write(folder, _BEGUN)
    try:
        if kills >= 2:
            raise UserError(f"{folder.name}: was killed twice (out of memory?), left out this time.")
        yield
    except Exception as error:
        _fail(folder, config, error)
        raise
    except SystemExit as error:
        failure = UserError(f"{folder.name}: the job ended its process itself, with exit code {error.code}.")
        _fail(folder, config, failure)
        raise failure from error
    except BaseException:
        _write(folder, INTERRUPTED)
        raise
    _write(folder, FINISHED)


def is_excluded(config: DictConfig) -> bool:
    """Whether `exclude` leaves out this combination of choices; a list in it stands for any of its values."""
    groups = HydraConfig.get().runtime.choices
    combinations: Any = OmegaConf.to_container(config.exclude)
    for combination in combinations:
        values = {key: groups.get(key, OmegaConf.select(config, key)) for key in combination}
        if all(
            values[key] in (wanted if isinstance(wanted, list) else [wanted])
            for key, wanted in combination.items()
        ):
            print(f"Left out of the sweep: {', '.join(f'{key}={value}' for key, value in values.items())}")
            return True
    return False


def _problem(config: DictConfig) -> str | None:
    """What is wrong with a sweep as a whole."""
    if any(re.match(r"\+?experiment=.*,", override) for override in config.hydra.overrides.task):
        return "experiment: only one per sweep, because each has axes of its own; run them one at a time."
    searches = not config.hydra.sweeper._target_.endswith(".BasicSweeper")
    if searches and (config.protocol == "paper" or config.data.validation_fraction == 0):
        return (
            "A search chooses by the validation error: it needs protocol=honest and data.validation_fraction > 0, "
            f"got {config.protocol} and {config.data.validation_fraction}."
        )
    return None


def _write(folder: Path, state: str, error: str | None = None) -> None:
    line = {"job": folder.name, "state": state, "error": error, "time": time.time()}
    with suppress(OSError), (folder.parent / _LOG).open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(line))  # begins a new line, so that a torn one spoils no other


def _read(folder: Path) -> list[dict[str, Any]]:
    """All lines, except those that a full disk or a kill has torn."""
    lines: list[dict[str, Any]] = []
    with suppress(OSError):
        for text in (folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and line.keys() >= {"job", "state", "error", "time"}:
                    lines.append(line)
    return lines


def _kills(folder: Path) -> int:
    """How often the job began without an end since it last ended or saved anything."""
    begun: list[float] = []
    for line in _read(folder.parent):
        if line["job"] == folder.name:
            begun = [*begun, line["time"]] if line["state"] == _BEGUN else []
    with suppress(OSError):
        saved = (folder / "checkpoints/last.ckpt").stat().st_mtime
        begun = [moment for moment in begun if moment > saved]
    return len(begun)


def _fail(folder: Path, config: DictConfig, error: Exception) -> None:
    """Records a failure for the list at the end and for a report."""
    lines = (explain(error) or f"{type(error).__name__}: {error}").strip().splitlines()
    message = lines[-1] if lines else type(error).__name__
    _write(folder, FAILED, message)
    # The first error is the one to show, not a full disk here or the value that made the configuration wrong.
    with suppress(OSError, OmegaConfBaseException):
        status = read_status(folder)
        if not (folder / "config.yaml").exists():
            write_status(folder, FAILED, message)
            OmegaConf.save(config, folder / "config.yaml", resolve=True)
        elif status.process == os.getpid() and status.state != FAILED:
            write_status(folder, FAILED, message)


def _never_began(folder: Path) -> bool:
    names = {path.name for path in folder.glob("*") if path.suffix != ".log"}
    return names <= _UNSTARTED and (not names or read_status(folder).state == FAILED)
