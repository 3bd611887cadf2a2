"""Standard output that survives a reader who leaves and an encoding that lacks a character."""

import io
import os
import sys
from errno import EIO, EPIPE
from typing import Any, TextIO


def protect_output() -> None:
    """Keeps this process running when the reader of its output is gone (`| head`), or cannot read `→`."""
    sys.stdout, sys.stderr = _protected(sys.stdout), _protected(sys.stderr)


def _protected(stream: TextIO) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer in between
    if not isinstance(stream, io.TextIOWrapper) or type(raw) is not io.FileIO:
        return stream  # a test's, a notebook's, or already protected
    stream.flush()
    unbroken: Any = _Unbroken(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        unbroken if raw is buffer else io.BufferedWriter(unbroken),
        stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Unbroken(io.FileIO):
    """Discards what is written once nobody reads it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (EPIPE, EIO):  # a closed pipe, a closed terminal
                raise
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())  # so that libraries and child processes can print, too
        os.close(nothing)
        return memoryview(data).nbytes
