"""Errors of one process of several, which the others know only as a lost connection."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from ccnn.runs.status import FAILED, write_status


def rank() -> int:
    """The number of this process among those of the training."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def publish(folder: Path, message: str) -> None:
    """Leaves an error for the first process, and in status.json: Lightning may kill that process first."""
    with suppress(OSError):
        write_status(folder, FAILED, f"rank{rank()}: {message.splitlines()[-1]}")
        (folder / f"error_rank{rank()}.txt").write_text(message + "\n", encoding="utf-8")


def is_shown_by_another(folder: Path, error: Exception, since: float) -> bool:
    """Whether an error only repeats that of another process, which then is the one in status.json.

    Args:
        folder: of the run.
        error: of this process.
        since: when the run began, in seconds of the clock; older errors are another attempt's.
    """
    if rank() or not re.search(r"gloo|nccl|by peer", str(error), re.IGNORECASE):
        return False
    for _ in range(30):  # the other process may be about to write it
        for path in sorted(folder.glob("error_rank*.txt")):
            with suppress(OSError):
                if path.stat().st_mtime >= since and (text := path.read_text(encoding="utf-8").strip()):
                    write_status(folder, FAILED, f"{path.stem.removeprefix('error_')}: {text.splitlines()[-1]}")
                    return True
        time.sleep(0.1)
    return False
