"""Drawing with whole pixels: panels with captions, pages of panels, and their PNG and GIF files."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ccnn.errors import UserError
from ccnn.palette import FAINT, INK, PAPER, Colour, Pixels

MARGIN = 12  # pixels around and between panels
TEXT = 16  # height of letters, pixels
NARROW = 350  # width of a page that TensorBoard shows as it is; wider ones it shrinks, and their text breaks


@lru_cache(maxsize=8)
def font(size: int = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font inside Pillow, so that pictures are the same everywhere; it has no × and no arrows."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int = TEXT) -> int:
    """Width of the widest line in pixels."""
    return max(int(np.ceil(font(size).getlength(line))) for line in text.split("\n"))


def shortened(text: str, width: int, size: int = TEXT) -> str:
    """A line of text, cut so that it is at most `width` pixels wide."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text}…"


def wrapped(text: str, width: int, size: int = TEXT) -> str:
    """The text in lines of at most `width` pixels, broken at spaces; a word that is wider alone is cut."""
    lines = []
    for paragraph in text.split("\n"):
        line, *words = paragraph.split(" ")
        for word in words:
            if text_width(f"{line} {word}", size) <= width:
                line = f"{line} {word}"
            else:
                lines.append(line)
                line = word
        lines.append(line)
    return "\n".join(shortened(line, width, size) for line in lines)


def write_text(
    image: Image.Image, place: tuple[int, int], text: str, size: int = TEXT, colour: Colour = INK
) -> None:
    """Writes lines below each other, the first one's top left corner at `place` (x, y)."""
    x, y = place
    for i, line in enumerate(text.split("\n")):
        ImageDraw.Draw(image).text((x, y + i * line_height(size)), line, colour, font(size))


def line_height(size: int = TEXT) -> int:
    """From one line of text to the next, in pixels."""
    return size * 5 // 4


def enlarge(pixels: Pixels, scale: int) -> Image.Image:
    """Each pixel becomes a square of scale×scale pixels, so nothing is blurred."""
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (pixels.shape[1] * scale, pixels.shape[0] * scale), Image.Resampling.NEAREST
    )


def framed(image: Image.Image) -> Image.Image:
    """The image in a line one pixel wide, so that white at its border is seen to belong to it."""
    page = Image.new("RGB", (image.width + 2, image.height + 2), FAINT)
    page.paste(image, (1, 1))
    return page


def captioned(image: Image.Image, caption: str, size: int = TEXT) -> Image.Image:
    """The image with lines of text below; as wide as the wider of both."""
    lines = caption.count("\n") + 1
    page = Image.new(
        "RGB",
        (max(image.width, text_width(caption, size)), image.height + 6 + lines * line_height(size)),
        PAPER,
    )
    page.paste(image, (0, 0))
    write_text(page, (0, image.height + 6), caption, size)
    return page


def page_of(rows: Sequence[Sequence[Image.Image]], title: str = "", size: int = TEXT + 4) -> Image.Image:
    """Puts panels in rows and columns, under a title with letters of `size` pixels."""
    columns = max(len(row) for row in rows)
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    top = MARGIN + (line_height(size) * (title.count("\n") + 1) + 8 if title else 0)
    width = max(sum(widths) + MARGIN * (columns - 1), text_width(title, size)) + 2 * MARGIN
    page = Image.new("RGB", (width, top + sum(heights) + MARGIN * len(rows)), PAPER)
    write_text(page, (MARGIN, MARGIN), title, size)
    y = top
    for row, height in zip(rows, heights, strict=True):
        x = MARGIN
        for panel, column in zip(row, widths, strict=False):
            page.paste(panel, (x, y))
            x += column + MARGIN
        y += height + MARGIN
    return page


def narrow_page(rows: Sequence[Sequence[Image.Image]], title: str, size: int = TEXT) -> Image.Image:
    """A page that is at most `NARROW` pixels wide if its panels are: its title is wrapped."""
    return page_of(rows, wrapped(title, NARROW - 2 * MARGIN, size), size)


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def gif(frames: Sequence[Image.Image], milliseconds: Sequence[int]) -> bytes:
    """An endless animation of frames of one size; their 255 most frequent colours are exact.

    Args:
        frames: the pictures; two equal ones in a row are shown as one, for both their times.
        milliseconds: how long each is shown, in steps of 10.
    """
    palette = _palette(frames)
    first, *others = [_indexed(frame, palette) for frame in frames]
    buffer = BytesIO()
    times = list(milliseconds)
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=False)
    return buffer.getvalue()


def _packed(image: Image.Image) -> np.ndarray:
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=np.int64), -1, 0)
    return (red << 16) | (green << 8) | blue


def _unpacked(colours: np.ndarray) -> np.ndarray:
    return np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=-1)


def _palette(frames: Sequence[Image.Image]) -> np.ndarray:
    colours, counts = np.unique(np.concatenate([_packed(f).ravel() for f in frames]), return_counts=True)
    return np.sort(colours[np.argsort(-counts, kind="stable")[:255]])


def _indexed(frame: Image.Image, palette: np.ndarray) -> Image.Image:
    """The frame in the palette's colours, each pixel in the nearest one."""
    colours, inverse = np.unique(_packed(frame), return_inverse=True)
    distances = ((_unpacked(colours)[:, None] - _unpacked(palette)) ** 2).sum(-1)
    indices = distances.argmin(1).astype(np.uint8)[inverse].reshape(frame.height, frame.width)
    image = Image.fromarray(indices, "P")
    image.putpalette(_unpacked(palette).astype(np.uint8).tobytes())
    return image


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Writes files that are either complete or not there, making their folders.

    Raises:
        UserError: a file cannot be written; then none of them is.
    """
    temporaries = {path: path.with_name(f".{path.name}.tmp") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(None, "Is a directory")
            temporaries[path].write_bytes(content)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    except OSError as error:
        for temporary in temporaries.values():
            if temporary.is_file():
                temporary.unlink()
        # What mkdir finds in the way "exists", but that is not what is wrong with it.
        no_folder = isinstance(error, FileExistsError | NotADirectoryError)
        reason = f"{path.parent} is no folder" if no_folder else error.strerror
        raise UserError(f"{path}: cannot be written: {reason}; choose another place.") from error
