"""What a command prints may have no reader any more, which is no reason to stop it."""

import io
import os
import sys
from errno import EIO, EPIPE
from typing import Any, TextIO


def keep_printing() -> None:
    """Has this process go on when the reader of its output is gone: `| head`, a closed terminal."""
    sys.stdout, sys.stderr = _unbroken(sys.stdout), _unbroken(sys.stderr)


def _unbroken(stream: TextIO) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer between
    if not isinstance(stream, io.TextIOWrapper) or type(raw) is not io.FileIO:
        return stream  # a test's, a notebook's, or done already
    stream.flush()
    unbroken: Any = _Unbroken(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        unbroken if raw is buffer else io.BufferedWriter(unbroken),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Unbroken(io.FileIO):
    """Drops what is written when nobody reads it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (EPIPE, EIO):  # a pipe that is closed, a terminal that is gone
                raise
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())  # for what libraries and child processes print, too
        os.close(nothing)
        return memoryview(data).nbytes
