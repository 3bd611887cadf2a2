"""How far a run is: status.json in its folder."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ccnn.files import write_json

RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"

_BEAT, _SILENCE = 60.0, 15 * 60.0
"""Seconds between two signs of life of a run, and those after which it is given up from another machine."""


def write_status(folder: Path, state: str, error: str | None = None) -> None:
    """Notes a run's state, and who wrote it."""
    status = {
        "state": state,
        "error": error,
        "name": folder.name,
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    write_json(folder / "status.json", status)


def read_status(folder: Path) -> dict[str, Any]:
    """A run's status; a run whose process is gone was interrupted, whatever it wrote last.

    Returns:
        The content of status.json, `state` being "" where there is none or it cannot be read.
    """
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"state": ""}
    if not isinstance(status, dict) or "state" not in status:
        return {"state": ""}
    if status["state"] == RUNNING and not _alive(status, folder):
        status["state"] = INTERRUPTED
    return status


@contextmanager
def heartbeat(folder: Path) -> Iterator[None]:
    """Touches status.json for as long as this lasts, so that other machines see that the run is alive."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):  # the next time, perhaps
                os.utime(folder / "status.json")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _alive(status: dict[str, Any], folder: Path) -> bool:
    """Whether the process that wrote this may still run: on another machine its signs of life tell."""
    process = status.get("process")
    if status.get("host") != socket.gethostname():
        job = status.get("slurm_job")
        if job is not None and job == os.environ.get("SLURM_JOB_ID"):  # this very job, which SLURM has moved here
            return False
        return time.time() - (folder / "status.json").stat().st_mtime < _SILENCE
    if not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return status.get("started") in (None, _started(process))  # or its number was given to another


def _started(process: int) -> str | None:
    """When a process started, in ticks since the machine did; None where the system does not tell."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
