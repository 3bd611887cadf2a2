"""Pages of panels, laid out by the pixel so that no panel is blurred, and their PNG and GIF files."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ccnn.errors import UserError
from ccnn.files import write_bytes
from ccnn.palette import FAINT, INK, Pixels

DPI = 100
MARGIN = 12  # pixels around and between panels
NARROW = 350  # Width in pixels of a picture that TensorBoard shows without shrinking it.

Panel = tuple[Pixels, str]
"""An image, uint8 of shape (H, W, 3), and its caption."""


def enlarge(pixels: Pixels, scale: int) -> Pixels:
    """Each pixel becomes a square of scale×scale pixels.

    Example:
        >>> enlarge(np.zeros((2, 3, 3), np.uint8), 4).shape
        (8, 12, 3)
    """
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def page(rows: Sequence[tuple[str, Sequence[Panel]]], points: float = 9, width: int = 0) -> Figure:
    """Rows of panels with captions below them, each row under a title.

    Panels are placed by the pixel: matplotlib's own layouts would resample them.

    Args:
        rows: title, or nothing, and panels of each row.
        points: size of the captions' letters; titles are larger.
        width: of the page in pixels, at least.
    """
    line, title_line = round(1.25 * points * DPI / 72), round(1.5 * points * DPI / 72)
    columns = [max(panels[i][0].shape[1] for _, panels in rows if i < len(panels)) for i in
               range(max(len(panels) for _, panels in rows))]  # fmt: skip
    width = max(width, sum(columns) + MARGIN * (len(columns) + 1))
    heights = []
    for title, panels in rows:
        above = title_line * len(title.splitlines()) + (16 if title else 0)
        below = max(line * len(caption.splitlines()) + (6 if caption else 0) for _, caption in panels)
        heights.append((above, max(image.shape[0] for image, _ in panels) + below))
    height = sum(map(sum, heights)) + MARGIN * (len(rows) + 1)
    # A little above whole pixels: matplotlib truncates sizes, and 1.16 · 100 is 115.99…, which blurs panels.
    figure = Figure(figsize=((width + 1e-6) / DPI, (height + 1e-6) / DPI), dpi=DPI)
    ink, faint = (tuple(value / 255 for value in colour) for colour in (INK, FAINT))
    y = MARGIN
    for (title, panels), (above, rest) in zip(rows, heights, strict=True):
        x, y = MARGIN, y + above
        figure.text(x / width, 1 - (y - 4) / height, title, va="bottom", fontsize=1.2 * points, color=ink)
        for (image, caption), column in zip(panels, columns, strict=False):
            h, w = image.shape[:2]
            axes = figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height), xticks=[], yticks=[])
            axes.imshow(image, interpolation="none", aspect="auto")
            axes.spines[:].set_color(faint)
            figure.text(x / width, 1 - (y + h + 6) / height, caption, va="top", fontsize=points, color=ink)
            x += column + MARGIN
        y += rest + MARGIN
    return figure


def rendered(figure: Figure) -> Image.Image:
    """The figure's pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def write_png(image: Image.Image, path: Path) -> None:
    """Writes a picture.

    Raises:
        UserError: if the file cannot be written.
    """
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    _write(buffer.getvalue(), path)


def write_gif(frames: Sequence[Image.Image], milliseconds: Sequence[int], path: Path) -> None:
    """Writes an endless animation of frames of one size.

    Raises:
        UserError: if the file cannot be written.
    """
    # Without dithering, which flickers, and with a palette for each frame.
    first, *others = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
    buffer = BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=list(milliseconds), loop=0)
    _write(buffer.getvalue(), path)


def _write(content: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another place.") from error
