"""The figures of docs/figures, made from real data inside scikit-learn: its digits and its two photographs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ccnn.figures import drawing, explanation, feature_maps, pattern_pictures, run_pictures
from ccnn.figures.methods import N_ROOKS, SHOWN, steps_of
from ccnn.figures.patterns import patterns
from ccnn.palette import PAPER, Pixels, heat

_LEVELS = 4
_DRAWN = ("random", "stochastic")
_SIDE = 240  # pixels of a feature map's panel
_SHADES = 48  # few enough for a small file, more than one can tell apart


def traditional() -> bytes:
    """The animation of what an ordinary layer of stride 2 keeps."""
    return drawing.gif(*explanation.animate(_flower(), "traditional", "Traditional subsampling", "1 of 4"))


def checkered() -> bytes:
    """The animation of what a checkered layer keeps, in step with `traditional`."""
    return drawing.gif(*explanation.animate(_flower(), "lattice", "Checkered subsampling", "2 of 4"))


def lattice() -> bytes:
    """What `scripts/visualize.py --im_size 64 --steps 3 --method lattice --color` animates."""
    found = patterns(steps_of("lattice", [2] * 3))
    return drawing.gif(*pattern_pictures.animation(found, 64, 6, True, "lattice, stride 2"))


def sampling_methods() -> bytes:
    """What each method keeps after one to four steps; n-rooks after one to three, of stride 3."""
    rows = []
    for method in SHOWN:
        strides, size, scale = ([3] * 3, 27, 11) if method == N_ROOKS else ([2] * _LEVELS, 32, 9)
        title = f"{method}, drawn for one step of training" if method in _DRAWN else method
        found = patterns(steps_of(method, strides))[1:]
        panels = [pattern_pictures.panel(p, size, scale, colour=True) for p in found]
        captions = [pattern_pictures.caption(p, colour=True) for p in found]
        row = [drawing.captioned(*pair) for pair in zip(panels, captions, strict=True)]
        rows.append([drawing.page_of([row], title if strides[0] == 2 else f"{title}, stride {strides[0]}")])
    return drawing.png(drawing.page_of(rows))


def confusion_and_mistakes() -> bytes:
    """What TensorBoard shows of a short run on the digits."""
    overrides = ("convert=true", "sampling=lattice", "trainer.max_epochs=2")
    return drawing.png(run_pictures.of_a_run((*overrides, "trainer=cpu", "trainer.precision=64-true")))


def feature_map_levels() -> bytes:
    """Feature maps of a photograph at each level of a plain and of a converted network, and at all places."""
    photograph = _photograph("china.jpg", (60, 20, 380, 340), _SIDE)
    grey = np.asarray(Image.fromarray(photograph).convert("L"), dtype=np.float32) / 255
    found = {
        name: feature_maps.levels(torch.from_numpy(grey), method, _LEVELS)
        for name, method in {"plain": "traditional", "checkered": "lattice", "all places": "complete"}.items()
    }
    highest = [float(level.dense.quantile(0.995)) for level in found["all places"]]
    text = (
        "Edges of this photograph, in a network of fixed Sobel kernels and four max poolings of stride 2.\n"
        "Rows: the plain network, the same converted with sampling=lattice, and what there is at all places\n"
        "(complete). Each sample is drawn at its place in the image, with to_dense between the samples.\n"
        "missing: the part of the variance of the bottom row that the map above does not explain."
    )
    words = Image.new("RGB", (drawing.text_width(text), 4 * drawing.line_height()), PAPER)
    drawing.write_text(words, (0, 0), text)
    top = drawing.page_of([[drawing.framed(Image.fromarray(photograph)), words]])
    rows = []
    for name, levels in found.items():
        row = []
        for level, high in zip(levels, highest, strict=True):
            shades = (level.dense / high * _SHADES).round().numpy() / _SHADES
            picture = drawing.framed(Image.fromarray(heat(shades)))
            values = f"{name}, stride {level.pattern.side}: {level.values:,} values"
            row.append(drawing.captioned(picture, f"{values}\nmissing {level.missing:.1%}".replace("%", " %")))
        rows.append(row)
    below = drawing.page_of(rows)
    page = Image.new("RGB", (max(top.width, below.width), top.height + below.height - drawing.MARGIN), PAPER)
    page.paste(top, (0, 0))
    page.paste(below, (0, top.height - drawing.MARGIN))
    return drawing.png(page)


FIGURES: Mapping[str, Callable[[], bytes]] = {
    "traditional.gif": traditional,
    "checkered.gif": checkered,
    "lattice.gif": lattice,
    "sampling_methods.png": sampling_methods,
    "feature_maps.png": feature_map_levels,
    "confusion_and_mistakes.png": confusion_and_mistakes,
}
"""What makes each file of docs/figures."""


def make_all(folder: Path) -> list[Path]:
    """Makes every figure, one after the other, and returns the files.

    Raises:
        UserError: one cannot be written.
    """
    for name, make in FIGURES.items():
        drawing.write_files({folder / name: make()})
    return [folder / name for name in FIGURES]


def _flower() -> Pixels:
    return _photograph("flower.jpg", (130, 40, 490, 400), 16)


def _photograph(name: str, box: tuple[int, int, int, int], side: int) -> Pixels:
    """A square of one of scikit-learn's photographs, each pixel the mean of those it replaces."""
    from sklearn.datasets import load_sample_image  # takes a second

    image = Image.fromarray(load_sample_image(name)).crop(box)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))
