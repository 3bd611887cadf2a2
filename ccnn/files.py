"""Files that are either complete or as they were before, whatever happens meanwhile; and how to name them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file.

    Raises:
        ValueError: a number in it is none, or infinite.
        OSError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file beside its place, to the disk, and then moves it there.

    Raises:
        OSError: it cannot be written; nothing is left beside it.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def replace(temporary: Path, path: Path) -> None:
    """Puts a file in another's place, in such a way that a power cut does not take that back."""
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some file systems do not know this for folders
    finally:
        os.close(folder)


def shorter(folder: Path) -> Path:
    """Returns the folder as one would type it from here."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
