"""How far a run is: status.json in its folder."""

import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from ccnn.run_folder import write_json

RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"


def write_status(folder: Path, state: str, error: str | None = None) -> None:
    """Notes a run's state, and who wrote it."""
    status = {
        "state": state,
        "error": error,
        "name": folder.name,
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
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
    if status["state"] == RUNNING and status.get("host") == socket.gethostname() and not _alive(status["process"]):
        status["state"] = INTERRUPTED
    return status


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()  # a number that is given again
