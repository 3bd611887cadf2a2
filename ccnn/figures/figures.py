"""The figures of docs/figures, made from real data inside scikit-learn: its digits and its two photographs."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ccnn.figures import explanation, feature_maps, run_figures
from ccnn.figures.methods import N_ROOKS, SHOWN, steps_of
from ccnn.figures.page import page
from ccnn.figures.pattern_panels import panel
from ccnn.figures.patterns import Pattern, patterns
from ccnn.figures.picture_files import write_gif, write_png
from ccnn.palette import Pixels, heat

_LEVELS = 4
_DRAWN = ("random", "stochastic")


def side_by_side(shown: list[Pattern], size: int, scale: int, colour: bool, title: str) -> Image.Image:
    """One panel for each pattern."""
    return page([(title, [panel(pattern, size, scale, colour) for pattern in shown])])


def write_animation(shown: list[Pattern], size: int, scale: int, colour: bool, title: str, path: Path) -> None:
    """A frame for each pattern, the last one shown for longer."""
    frames = [side_by_side([pattern], size, scale, colour, title) for pattern in shown]
    write_gif(frames, [1000] * (len(frames) - 1) + [2000], path)


def _explanation(method: str, title: str, kept: str, path: Path) -> None:
    """What layers of stride 2 keep, step by step."""
    write_gif(*explanation.animate(_photograph("flower.jpg", (130, 40, 490, 400), 16), method, title, kept), path)


def _lattice(path: Path) -> None:
    """What `scripts/visualize.py --im_size 64 --steps 3 --method lattice --color` animates."""
    write_animation(patterns(steps_of("lattice", [2] * 3)), 64, 6, True, "lattice, stride 2", path)


def _sampling_methods(path: Path) -> None:
    """What each method keeps after one to four steps; n-rooks after one to three, of stride 3."""
    rows = []
    for method in SHOWN:
        stride, count, size, scale = (3, 3, 27, 11) if method == N_ROOKS else (2, _LEVELS, 32, 9)
        title = method + (", drawn for one training step" if method in _DRAWN else "") + f", stride {stride}"
        shown = patterns(steps_of(method, [stride] * count))[1:]
        rows.append((title, [panel(pattern, size, scale, colour=True) for pattern in shown]))
    write_png(page(rows), path)


def _feature_maps(path: Path) -> None:
    """Feature maps of a photograph at each level of a plain and of a converted network, and at all places."""
    photograph = _photograph("china.jpg", (60, 20, 380, 340), 240)
    grey = torch.from_numpy(np.asarray(Image.fromarray(photograph).convert("L"), dtype=np.float32) / 255)
    methods = {"plain": "traditional", "checkered": "lattice", "all places": "complete"}
    levels = {name: feature_maps.levels(grey, method, _LEVELS) for name, method in methods.items()}
    highest = [float(level.dense.quantile(0.995)) for level in levels["all places"]]
    text = (
        "Edges of this photograph, in a network of fixed Sobel kernels and four max poolings of stride 2.\n"
        "Rows: the plain network, the same converted with sampling=lattice, and all places (complete).\n"
        "Each sample is drawn at its place in the image, with to_dense between the samples.\n"
        "missing: the part of the variance of the bottom row that the map above it does not explain."
    )
    rows = [(text, [(photograph, "")])]
    for name, of_method in levels.items():
        panels = []
        for level, high in zip(of_method, highest, strict=True):
            shades = (level.dense / high * 48).round().numpy() / 48  # few enough for a small file
            values = f"{name}, stride {level.stride}: {level.values:,} values"
            panels.append((heat(shades), f"{values}\nmissing {100 * level.missing:.1f} %"))
        rows.append(("", panels))
    write_png(page(rows), path)


def _run(path: Path) -> None:
    """What TensorBoard shows of a short run on the digits; double precision gives the same on all machines."""
    overrides = ("convert=true", "sampling=lattice", "trainer.max_epochs=2")
    write_png(run_figures.of_a_run((*overrides, "trainer=cpu", "trainer.precision=64-true")), path)


FIGURES: Mapping[str, Callable[[Path], None]] = {
    "traditional.gif": partial(_explanation, "traditional", "Traditional subsampling", "1 of 4"),
    "checkered.gif": partial(_explanation, "lattice", "Checkered subsampling", "2 of 4"),
    "lattice.gif": _lattice,
    "sampling_methods.png": _sampling_methods,
    "feature_maps.png": _feature_maps,
    "confusion_and_mistakes.png": _run,
}
"""Writes each file of docs/figures."""


def _photograph(name: str, box: tuple[int, int, int, int], side: int) -> Pixels:
    """A square of one of scikit-learn's photographs, each pixel the mean of those it replaces."""
    from sklearn.datasets import load_sample_image  # takes a second

    image = Image.fromarray(load_sample_image(name)).crop(box)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))
