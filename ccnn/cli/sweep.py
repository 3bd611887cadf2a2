"""What became of the jobs of a sweep: a line in jobs.log of its folder when one begins, another when it ends."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ccnn.cli.messages import explain
from ccnn.errors import UserError
from ccnn.files import shorter, write_text
from ccnn.runs.folder import discard
from ccnn.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, read_status, write_status

_LOG = "jobs.log"
_SWEEP = "CCNN_SWEEP"
"""Tells the processes of a launcher which sweep they work for."""

_REFUSED = {"config.yaml", "overrides.yaml", "status.json"}
"""What is left of a job that was refused before it began, so that a report knows of it."""


@contextmanager
def noted(folder: Path, config: DictConfig, overrides: list[str]) -> Iterator[None]:
    """Notes the beginning and the end of a job of a sweep, and refuses one that was killed twice.

    It is refused once, so that the others are reached; the command after that tries it again.

    Args:
        folder: of the job.
        config: of the job.
        overrides: that make the job.

    Raises:
        UserError: it was killed twice, each time before it had saved anything new, or it called `sys.exit`.
        Exception: what the job raises.
    """
    killed = _killed(folder)
    if _is_refused(folder):  # by an earlier attempt; what is wrong may be another thing now, or nothing
        _forget(folder)
    _write(folder, "begins")
    try:
        if killed >= 2:
            raise UserError(
                f"{folder.name}: was killed twice (out of memory?), so it is left out this time; the same command "
                "tries it again."
            )
        yield
    except Exception as error:
        _fail(folder, config, overrides, error)
        raise
    except SystemExit as error:
        failure = UserError(f"{folder.name}: the job ended its process itself, with exit code {error.code}.")
        _fail(folder, config, overrides, failure)
        raise failure from error
    except BaseException:
        _write(folder, INTERRUPTED)
        raise
    _write(folder, FINISHED)


class Sweep:
    """One command that runs jobs in a folder, maybe beside others.

    Args:
        config: of the sweep.
    """

    def __init__(self, config: DictConfig) -> None:
        self.folder, self.process = Path(config.hydra.sweep.dir).resolve(), os.getpid()
        self._size, self._began = _size(config), time.time()
        self._name = os.environ[_SWEEP] = f"{self.process}-{self._began}"

    def close(self) -> None:
        """Tells which jobs did not finish; removes the folder if none of them began."""
        if os.getpid() != self.process:
            return  # a child of the program
        self._tell()
        jobs = [path for path in self.folder.glob("*") if path.is_dir()]
        if all(map(_is_refused, jobs)):
            for job in jobs:
                _forget(job)
                discard(job)
            discard(self.folder)

    def _tell(self) -> None:
        last: dict[str, dict[str, Any]] = {}
        for line in _read(self.folder):
            if line["sweep"] == self._name or (line["sweep"] is None and line["time"] >= self._began):
                last[line["job"]] = line
        if not last:
            return
        failed = {job: line["error"] for job, line in last.items() if line["state"] == FAILED}
        running = 0
        for job, line in last.items():
            if line["state"] == "begins" and read_status(self.folder / job).state == RUNNING:
                running += 1
            elif line["state"] == "begins":
                failed[job] = "was killed (out of memory?), preempted, or took longer than the launcher's timeout"
        if failed:
            print(
                f"\n{_jobs(len(failed))} of the sweep failed; the same command runs what failed again:",
                file=sys.stderr,
            )
            for job, message in failed.items():
                print(f"  {job}: {message}", file=sys.stderr)
        stopped = sum(line["state"] == INTERRUPTED for line in last.values())
        for number, what in (
            (stopped, "interrupted"),
            (max((self._size or 0) - len(last), 0), "not started"),
            (running, "still running"),
        ):
            if number:
                print(f"{_jobs(number)} of the sweep: {what}. The same command goes on.", file=sys.stderr)
        if not (failed or stopped or running) and len(last) == self._size:
            report = f"python scripts/report.py {shorter(self.folder)}"
            print(f"\nEvery job of the sweep is finished. Their table: {report}")


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _size(config: DictConfig) -> int | None:
    """How many jobs there will be; None where that is for the sweeper to decide."""
    sweeper = config.hydra.sweeper
    if sweeper._target_.rpartition(".")[2] != BasicSweeper.__name__:
        return None
    words = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    words += map(str, config.hydra.overrides.task)
    try:
        return len(BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)[0])
    except HydraException:
        return None  # which Hydra tells of


def _write(folder: Path, state: str, error: str | None = None) -> None:
    line = {"sweep": os.environ.get(_SWEEP), "job": folder.name, "state": state, "error": error,
            "time": time.time(), "process": os.getpid()}  # fmt: skip
    with suppress(OSError), (folder.parent / _LOG).open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(line))  # so a line that was cut off spoils no other


def _read(folder: Path) -> list[dict[str, Any]]:
    """All lines but those that a full disk or a kill has cut off."""
    lines: list[dict[str, Any]] = []
    with suppress(OSError):
        for text in (folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and line.keys() >= {"sweep", "job", "state", "error", "time"}:
                    lines.append(line)
    return lines


def _killed(folder: Path) -> int:
    """How often the job has begun without an end since it last ended or saved anything."""
    begun: list[float] = []
    for line in _read(folder.parent):
        if line["job"] == folder.name:
            begun = [*begun, line["time"]] if line["state"] == "begins" else []
    with suppress(OSError):
        saved = (folder / "checkpoints/last.ckpt").stat().st_mtime
        begun = [moment for moment in begun if moment > saved]
    return len(begun)


def _fail(folder: Path, config: DictConfig, overrides: list[str], error: Exception) -> None:
    """Notes a failure where the end of the sweep, the next attempt and a report look for it."""
    lines = (explain(error) or f"{type(error).__name__}: {error}").strip().splitlines()
    message = lines[-1] if lines else type(error).__name__
    _write(folder, FAILED, message)
    with suppress(OSError):  # a full disk, most likely: what is told to the user is the first error
        if not (folder / "config.yaml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
            write_text(folder / "config.yaml", _text(config))
            write_status(folder, FAILED, message)
        elif read_status(folder).process == os.getpid() and read_status(folder).state != FAILED:
            write_status(folder, FAILED, message)  # of this process, not of another that is at it, or was


def _text(config: DictConfig) -> str:
    try:
        return OmegaConf.to_yaml(config, resolve=True)
    except OmegaConfBaseException:  # which is what was wrong
        return OmegaConf.to_yaml(config)


def _is_refused(folder: Path) -> bool:
    """Whether there is nothing in a job's folder but the note that it was refused."""
    names = {path.name for path in folder.glob("*") if path.suffix != ".log"}
    return names <= _REFUSED and (not names or read_status(folder).state == FAILED)


def _forget(folder: Path) -> None:
    for name in _REFUSED:
        (folder / name).unlink(missing_ok=True)
