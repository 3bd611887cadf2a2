"""Pages of panels with captions, laid out by the pixel so that no panel is blurred."""

from collections.abc import Sequence
from itertools import zip_longest
from math import ceil
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from ccnn.palette import FAINT, INK, PAPER, Pixels

MARGIN = 12  # pixels around and between panels
_ROW_GAP = 20
NARROW = 350  # Width in pixels of a picture that TensorBoard shows without shrinking it.

Panel = tuple[Pixels, str]
"""An image, uint8 of shape (H, W, 3), and its caption."""


def enlarge(pixels: Pixels, scale: int) -> Pixels:
    """Each pixel becomes a square of scale×scale pixels.

    Example:
        >>> import numpy as np
        >>> enlarge(np.zeros((2, 3, 3), np.uint8), 4).shape
        (8, 12, 3)
    """
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def font(points: float) -> ImageFont.FreeTypeFont:
    """Matplotlib's font, at 100 pixels per inch."""
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), points * 100 / 72)


def page(rows: Sequence[tuple[str, Sequence[Panel]]], points: float = 9, width: int = 0) -> Image.Image:
    """Rows of panels with captions below them, each row under a title.

    Args:
        rows: title, or nothing, and panels of each row.
        points: size of the captions' letters; titles are larger.
        width: of the page in pixels, at least.
    """
    widths = zip_longest(*([pixels.shape[1] for pixels, _ in panels] for _, panels in rows), fillvalue=0)
    columns = [max(column) for column in widths]
    placed: list[tuple[Image.Image, int, int]] = []
    y = MARGIN
    for title, panels in rows:
        if title:
            placed.append((heading := _text(title, 1.2 * points), MARGIN, y))
            y += heading.height + 6
        x, bottom = MARGIN, y
        for (pixels, caption), column in zip(panels, columns, strict=False):
            panel, words = _framed(pixels), _text(caption, points)
            placed += [(panel, x - 1, y - 1), (words, x, y + panel.height + 2)]
            bottom = max(bottom, y + panel.height + (2 + words.height if caption else 0))
            x += column + MARGIN
        y = bottom + _ROW_GAP
    size = (max(width, sum(columns) + MARGIN * (len(columns) + 1)), y - _ROW_GAP + MARGIN)
    whole = Image.new("RGB", size, PAPER)
    for image, left, top in placed:
        whole.paste(image, (left, top))
    return whole


def _framed(pixels: Pixels) -> Image.Image:
    """The panel inside a line one pixel wide."""
    height, width = pixels.shape[:2]
    frame = Image.new("RGB", (width + 2, height + 2), FAINT)
    frame.paste(Image.fromarray(pixels), (1, 1))
    return frame


def _text(text: str, points: float) -> Image.Image:
    letters = font(points)
    _, _, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, letters)
    image = Image.new("RGB", (ceil(right), ceil(bottom)), PAPER)
    ImageDraw.Draw(image).multiline_text((0, 0), text, INK, letters)
    return image
