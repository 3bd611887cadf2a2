"""Writes pictures as PNG and animations as GIF."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ccnn.errors import UserError
from ccnn.files import write_bytes


def write_png(image: Image.Image, path: Path) -> None:
    """Writes a picture.

    Raises:
        UserError: if the file cannot be written.
    """
    _write(image, path, format="PNG", optimize=True)


def write_gif(frames: Sequence[Image.Image], milliseconds: Sequence[int], path: Path) -> None:
    """Writes an endless animation of frames of one size.

    Raises:
        UserError: if the file cannot be written.
    """
    # Without dithering, which flickers, and with a palette for each frame.
    first, *others = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
    _write(first, path, format="GIF", save_all=True, append_images=others, duration=list(milliseconds), loop=0)


def _write(image: Image.Image, path: Path, **options: Any) -> None:
    buffer = BytesIO()
    image.save(buffer, **options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another place.") from error
