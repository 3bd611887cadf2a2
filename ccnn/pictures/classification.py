"""Pictures of what a classifier does: labelled images, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ccnn.pictures.drawing import captioned, enlarge, framed, line_height, page_of, text_width, write_text
from ccnn.pictures.palette import INK, PAPER, heat

_TEXT = 14  # height of letters, pixels
_TITLE = 16
_READABLE = 20  # more classes than this have no room for names


def image_grid(pixels: Tensor, captions: Sequence[str], title: str, columns: int = 3) -> Image.Image:
    """Images with a caption each, in rows.

    Args:
        pixels: uint8, shape (N, C, H, W), C being 1, or 3 and more, of which the first three are shown.
        captions: one for each image; may have several lines.
        title: stands above.
        columns: images in a row.
    """
    panels = [
        captioned(framed(_image(image)), caption, _TEXT) for image, caption in zip(pixels, captions, strict=True)
    ]
    return page_of([panels[i : i + columns] for i in range(0, len(panels), columns)], title, _TITLE)


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
    shares = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))  # the root, so that few are seen too
    if len(names) <= _READABLE:
        return page_of([[_with_names(counts, shares, names)]], title, _TITLE)
    cell = max(1, 320 // len(names))
    return page_of([[framed(enlarge(heat(shares), cell))], [_list(counts, names)]], title, _TITLE)


def _with_names(counts: NDArray[np.int64], shares: NDArray[np.floating], names: Sequence[str]) -> Image.Image:
    cell = max(30, text_width(f"{counts.max():,}", _TEXT) + 8)
    label = max(text_width(name, _TEXT) for name in names) + 8
    upright = label > cell
    top = label if upright else line_height(_TEXT) + 4
    picture = Image.new("RGB", (label + len(names) * cell + 2, top + len(names) * cell + 2), PAPER)
    picture.paste(framed(enlarge(heat(shares), cell)), (label, top))
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
    for (row, column), count in np.ndenumerate(counts):
        if count:
            text, dark = f"{count:,}", shares[row, column] > 0.6
            x = label + column * cell + (cell - text_width(text, _TEXT)) // 2
            y = top + row * cell + cell // 2 - _TEXT // 2
            write_text(picture, (x, y), text, _TEXT, PAPER if dark else INK)
    return picture


def _list(counts: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """The most frequent confusions, in words."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:25]
    places = [divmod(int(place), len(names)) for place in order]
    lines = [f"{wrong[at]:,}  {names[at[0]]}, taken for {names[at[1]]}" for at in places if wrong[at]]
    text = "\n".join(lines) or "no confusions"
    picture = Image.new("RGB", (text_width(text, _TEXT) + 4, (len(lines) or 1) * line_height(_TEXT) + 4), PAPER)
    write_text(picture, (0, 0), text, _TEXT)
    return picture
