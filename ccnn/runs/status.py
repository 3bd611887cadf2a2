"""Which state a run is in, and whether its process is still alive."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ccnn.runs.record import FAILED, FINISHED, INTERRUPTED, RUNNING, Status

__all__ = ["FAILED", "FINISHED", "INTERRUPTED", "RUNNING", "heartbeat", "read_status", "write_status"]

_BEAT = 60.0  # seconds between two signs of life
_SILENCE = 15 * 60.0  # seconds without one after which another machine considers a run dead


def write_status(folder: Path, state: str, error: str | None = None) -> None:
    """Records a run's state, and that this process wrote it.

    Raises:
        OSError: it cannot be written.
    """
    Status(
        state=state,
        error=error,
        name=folder.name,
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        host=socket.gethostname(),
        process=os.getpid(),
        started=_started(os.getpid()),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
    ).write(folder)


def read_status(folder: Path) -> Status:
    """Reads a run's status; a run whose process is gone counts as interrupted, whatever it wrote last."""
    status = Status.read(folder)
    gone = status.state == RUNNING and not _alive(status, folder)
    return replace(status, state=INTERRUPTED) if gone else status


@contextmanager
def heartbeat(folder: Path) -> Iterator[None]:
    """Touches status.json within this context, so that other machines see that the run is alive."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):  # it may work the next time
                os.utime(folder / "status.json")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _alive(status: Status, folder: Path) -> bool:
    """Whether the process that wrote this may still run; on another machine its heartbeat tells."""
    if status.host != socket.gethostname():
        if status.slurm_job is not None and status.slurm_job == os.environ.get("SLURM_JOB_ID"):
            return False  # Slurm moved this very job here
        return time.time() - (folder / "status.json").stat().st_mtime < _SILENCE
    if not isinstance(status.process, int) or status.process == os.getpid():
        return False
    try:
        os.kill(status.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return status.started in (None, _started(status.process))  # else its number was given to another process


def _started(process: int) -> str | None:
    """When a process started, in ticks since the machine did; None if the system does not say."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
