"""A lock on a run's folder that ends with the process that holds it."""

import fcntl
import os
import socket
from pathlib import Path

from ccnn.errors import UserError

LOCK = ".lock"


class Lock:
    """Keeps other processes out of a folder; within one process it excludes nobody.

    A POSIX lock, unlike flock (and the package filelock), is not inherited by forked processes: those that load
    data outlive a killed run by some seconds, in which it could not be resumed. On a file system without locks
    there is none.
    """

    def __init__(self) -> None:
        self._path = Path(LOCK)
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this has the lock."""
        return self._file is not None

    def take(self, folder: Path) -> None:
        """Takes the lock; does nothing where it is held already or the folder cannot be written.

        Raises:
            UserError: another process has it.
        """
        path = folder / LOCK
        while self._file is None:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:  # reported when files are written there
                return
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                holder = os.read(file, 200).decode(errors="replace") or "another one"
                os.close(file)
                raise UserError(
                    f"{folder}: is running, as process {holder}. Wait for it, or choose another folder with "
                    "hydra.run.dir=…"
                ) from None
            except OSError:
                os.close(file)
                path.unlink(missing_ok=True)
                return
            if _is(path, file):  # else its holder has removed it in between
                os.ftruncate(file, 0)
                os.write(file, f"{os.getpid()} of {socket.gethostname()}".encode())
                self._path, self._file = path, file
            else:
                os.close(file)

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def _is(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
