"""Figures of what a classifier does, as wide as TensorBoard shows them: labelled images, and confusions."""

from collections.abc import Sequence
from textwrap import fill, shorten

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ccnn.figures.page import MARGIN, NARROW, enlarge, page
from ccnn.palette import Pixels

_COLUMNS = 3
_SIDE = (NARROW - MARGIN) // _COLUMNS - MARGIN
_LABELLED = 20  # Classes whose names and numbers have room in the matrix.


def image_grid(pixels: Tensor, captions: Sequence[str], title: str) -> Image.Image:
    """Images with captions, three per row.

    Args:
        pixels: uint8 of shape (N, C, H, W); with three channels or more, the first three are shown as colours.
        captions: one for each image; long lines are wrapped.
        title: stands above.
    """
    panels = [
        (_thumbnail(image), "\n".join(fill(line, 18) for line in caption.splitlines()))
        for image, caption in zip(pixels, captions, strict=True)
    ]
    rows = [panels[i : i + _COLUMNS] for i in range(0, len(panels), _COLUMNS)]
    return page([(title if i == 0 else "", row) for i, row in enumerate(rows)], points=7.5, width=NARROW)


def _thumbnail(pixels: Tensor) -> Pixels:
    """(C, H, W) as colours, at most as wide as a column: small images in whole squares, large ones averaged."""
    channels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    colours: Pixels = channels.permute(1, 2, 0).cpu().numpy()
    scale = _SIDE // max(colours.shape)
    if scale:
        return enlarge(colours, scale)
    image = Image.fromarray(np.ascontiguousarray(colours))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def confusion_matrix(counts: Tensor, names: Sequence[str]) -> Figure:
    """How often images of each class (a row) were predicted as each class (a column).

    Args:
        counts: shape (classes, classes).
        names: of the classes. With more than 20, the most frequent confusions are listed instead of labels.
    """
    counts = counts.cpu()
    labelled = len(names) <= _LABELLED
    height = NARROW + (40 if labelled else 330)
    figure = Figure(figsize=(NARROW / 100, height / 100), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    # Colours are shares of the row; the cells show the counts.
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class")
    wrong = 1 - counts.trace() / counts.sum().clamp(min=1)
    axes.set_title(f"{int(counts.sum()):,} test images, {100 * wrong:.2f} % wrong", fontsize=9)
    if labelled:
        labels = [shorten(name, 14, placeholder="…") for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=90 if max(map(len, labels)) > 2 else 0, fontsize=7)
        axes.set_yticks(range(len(names)), labels, fontsize=7)
        for (row, column), count in np.ndenumerate(counts.numpy()):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=6.5)
    else:
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(f"predicted class\n\n{_most_frequent(counts, names)}", fontsize=8, x=0, ha="left")
    return figure


def _most_frequent(counts: Tensor, names: Sequence[str]) -> str:
    """The most frequent confusions, a line for each."""
    wrong = counts - counts.diag().diag()
    values, places = wrong.flatten().topk(16)
    lines = []
    for value, place in zip(values.tolist(), places.tolist(), strict=True):
        if value:
            true, predicted = (shorten(names[i], 20, placeholder="…") for i in divmod(place, len(names)))
            lines.append(f"{value:,}: {true}, predicted {predicted}")
    return "\n".join(lines) or "no confusions"


def rendered(figure: Figure) -> Image.Image:
    """The figure's pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
