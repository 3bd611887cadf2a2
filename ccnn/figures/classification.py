"""Pictures of what a classifier does, none wider than `NARROW`: labelled images, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ccnn.figures.drawing import (
    MARGIN,
    NARROW,
    captioned,
    enlarge,
    framed,
    line_height,
    narrow_page,
    shortened,
    text_width,
    wrapped,
    write_text,
)
from ccnn.palette import INK, PAPER, heat

_TEXT = 14  # height of letters, pixels
_SMALLEST = 9  # of letters in a cell
_WIDTH = NARROW - 2 * MARGIN  # of what is on a page
_CELL = 30  # width of a class in the confusion matrix; less where there are many
_READABLE = 20  # in a narrower cell a number has no room
_LABEL = 84  # width that the names of the classes may always have


def image_grid(pixels: Tensor, captions: Sequence[str], title: str, columns: int = 3) -> Image.Image:
    """Images with a caption each, in rows.

    Args:
        pixels: uint8, shape (N, C, H, W), C being 1, or 3 and more, of which the first three are shown.
        captions: one for each image; may have several lines, and is wrapped to the width of a column.
        title: stands above.
        columns: images in a row, at most; less if they are wide.
    """
    images = [framed(_image(image)) for image in pixels]
    columns = max(1, min(columns, (_WIDTH + MARGIN) // (images[0].width + MARGIN)))
    room = (_WIDTH + MARGIN) // columns - MARGIN
    panels = [
        captioned(image, wrapped(caption, room, _TEXT), _TEXT)
        for image, caption in zip(images, captions, strict=True)
    ]
    return narrow_page([panels[i : i + columns] for i in range(0, len(panels), columns)], title)


def _image(pixels: Tensor) -> Image.Image:
    """(C, H, W) as an image about a hundred pixels wide."""
    colours = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    side = max(pixels.shape[1:])
    image = enlarge(colours.permute(1, 2, 0).cpu().numpy(), max(1, 96 // side))
    return image.reduce(side // 96) if side >= 2 * 96 else image


def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """How often images of each class (a row) were taken for each class (a column).

    Args:
        counts: shape (classes, classes).
        names: of the classes. Where there are too many to write, the most frequent confusions are listed.
    """
    total, right = int(counts.sum()), int(counts.trace())
    wrong = 100 * (1 - right / max(total, 1))
    title = f"{total:,} test images, {wrong:.2f} % wrong\nrow: true class, column: answer"
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shades = heat(np.sqrt(parts))  # the root, so that few are seen too
    room = max(_LABEL, _WIDTH - _CELL * len(names))
    labels = [shortened(name, room - 8, _TEXT) for name in names]
    label = max(text_width(name, _TEXT) for name in labels) + 8
    cell = min(_CELL, (_WIDTH - label - 2) // len(names))
    if cell >= _READABLE:
        written, size, note = _numbers(counts, parts, cell)
        squares = _with_names(shades, labels, label, cell)
        for (row, column), number in np.ndenumerate(written):
            x = squares.width - (len(names) - column) * cell - 1 + (cell - text_width(number, size)) // 2
            y = squares.height - (len(names) - row) * cell - 1 + (cell - size) // 2
            write_text(squares, (x, y), number, size, PAPER if parts[row, column] > 0.36 else INK)
        return narrow_page([[squares]], title + note)
    step = -(-len(names) // _WIDTH)
    if step > 1:  # the highest of each block, so that no confusion is lost
        starts = range(0, len(names), step)
        shades = heat(np.sqrt(np.maximum.reduceat(np.maximum.reduceat(parts, starts, 0), starts, 1)))
        title += f"\none pixel: {step} x {step} classes"
    squares = framed(enlarge(shades, max(1, (_WIDTH - 2) // len(shades))))
    return narrow_page([[squares], [_list(counts, names)]], title)


def _numbers(
    counts: NDArray[np.int64], parts: NDArray[np.floating], cell: int
) -> tuple[NDArray[np.str_], int, str]:
    """What stands in the cells, the height of its letters, and what the title is to say of it."""
    texts = np.where(counts > 0, counts.astype(str), "")
    widest = str(counts.max())
    for size in range(_TEXT, _SMALLEST - 1, -1):
        if text_width(widest, size) <= cell - 2:
            return texts, size, ""
    percent = [[f"{100 * part:.1f}"[:3].rstrip(".") if part else "" for part in row] for row in parts]
    return np.array(percent), _SMALLEST + 1, "\nnumbers: percent of the row"


def _with_names(shades: NDArray[np.uint8], names: Sequence[str], label: int, cell: int) -> Image.Image:
    """The squares, with the names of the rows at their left and of the columns above them."""
    upright = label > cell
    top = label if upright else line_height(_TEXT) + 4
    picture = Image.new("RGB", (label + len(names) * cell + 2, top + len(names) * cell + 2), PAPER)
    picture.paste(framed(enlarge(shades, cell)), (label, top))
    for i, name in enumerate(names):
        width, middle = text_width(name, _TEXT), i * cell + cell // 2
        write_text(picture, (label - 6 - width, top + middle - _TEXT // 2), name, _TEXT)
        if upright:
            word = Image.new("RGB", (width, line_height(_TEXT)), PAPER)
            write_text(word, (0, 0), name, _TEXT)
            turned = word.transpose(Image.Transpose.ROTATE_90)
            picture.paste(turned, (label + middle - turned.width // 2, top - 4 - turned.height))
        else:
            write_text(picture, (label + middle - width // 2, 0), name, _TEXT)
    return picture


def _list(counts: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """The most frequent confusions, in words."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:25]
    places = [divmod(int(place), len(names)) for place in order]
    lines = [f"{wrong[at]:,}  {names[at[0]]}, taken for {names[at[1]]}" for at in places if wrong[at]]
    text = wrapped("\n".join(lines) or "no confusions", _WIDTH - 4, _TEXT)
    picture = Image.new(
        "RGB", (text_width(text, _TEXT) + 4, (text.count("\n") + 1) * line_height(_TEXT) + 4), PAPER
    )
    write_text(picture, (0, 0), text, _TEXT)
    return picture
