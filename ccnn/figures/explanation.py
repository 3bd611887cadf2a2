"""The method in five seconds: how a real image is subsampled twice, as an animation of its pixels."""

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ccnn.figures.methods import steps_of
from ccnn.figures.page import DPI, rendered
from ccnn.multisampling.samplers import Assignment
from ccnn.palette import FAINT, INK, Pixels, submap_colours

CELL = 16  # pixels of the picture for a value of the map
_GAP = 14  # between two submaps
_WIDTH, _HEIGHT = 340, 346

Place = tuple[int, int, int]
"""Submap, row and column."""


@dataclass(frozen=True)
class Stage:
    """Where the remaining values are after some steps.

    Attributes:
        places: where each value is now, by its (row, column) in the first map.
        submaps: their number.
        side: height and width of each.
    """

    places: dict[tuple[int, int], Place]
    submaps: int
    side: int

    def after(self, assignment: Assignment) -> "Stage":
        """The next stage, after a step of stride 2."""
        samplers = assignment * self.submaps if len(assignment) == 1 else assignment
        places = {}
        for origin, (submap, row, column) in self.places.items():
            for kept, position in enumerate(samplers[submap]):
                if position == (row % 2, column % 2):
                    places[origin] = (kept * self.submaps + submap, row // 2, column // 2)
        return Stage(places, self.submaps * len(samplers[0]), self.side // 2)

    def corner(self, place: Place) -> np.ndarray:
        """Where a value is drawn: x and y of its upper left corner, the submaps in a row around the middle."""
        submap, row, column = place
        across = self.side * CELL
        left = (_WIDTH - self.submaps * across - (self.submaps - 1) * _GAP) // 2
        return np.array([left + submap * (across + _GAP) + column * CELL, _HEIGHT // 2 - across // 2 + row * CELL])


def animate(pixels: Pixels, method: str, title: str, kept: str) -> tuple[list[Image.Image], list[int]]:
    """The frames of the animation, and for how many milliseconds each is shown, five seconds in all.

    Args:
        pixels: a small image, shape (16, 16, 3).
        method: a sampling method.
        title: stands above.
        kept: what the method keeps of each window, in words.
    """
    side = len(pixels)
    stages = [Stage({(y, x): (0, y, x) for y in range(side) for x in range(side)}, 1, side)]
    for _, assignment in steps_of(method, (2, 2)):
        stages.append(stages[-1].after(assignment))
    frames = [_frame(pixels, title, f"a feature map of {side}×{side} values", stages[0], stages[0])]
    times = [800]
    for count, (before, after) in enumerate(pairwise(stages), start=1):
        layer = f"{'a layer of stride 2' if count == 1 else 'the next one'} keeps {kept}"
        for fade, time in ((0.0, 300), (0.4, 80), (0.8, 80), (1.0, 400)):
            frames.append(_frame(pixels, title, layer, before, after, windows=True, fade=fade))
            times.append(time)
        maps = "1 map" if after.submaps == 1 else f"{after.submaps} submaps"
        share = 100 * len(after.places) / side**2
        left = f"{maps} of {after.side}×{after.side}: {share:.0f} % of the values"
        for part in np.linspace(0, 1, 8)[1:-1]:
            eased = part * part * (3 - 2 * part)  # slow at both ends
            frames.append(_frame(pixels, title, left, before, after, progress=float(eased)))
            times.append(50)
        frames.append(_frame(pixels, title, left, after, after))
        times.append(500)
    times[-1] = 5000 - sum(times[:-1])
    return frames, times


def _frame(
    pixels: Pixels,
    title: str,
    caption: str,
    before: Stage,
    after: Stage,
    windows: bool = False,
    fade: float = 0.0,
    progress: float = 0.0,
) -> Image.Image:
    """One frame between two stages.

    Args:
        pixels: colours of the values.
        title: stands above.
        caption: stands below.
        before: where the values are now.
        after: where those go that are kept.
        windows: whether to draw the 2×2 windows.
        fade: how far the other values have faded, 0 to 1.
        progress: how far the kept values have moved, 0 to 1.
    """
    figure = Figure(figsize=(_WIDTH / DPI, _HEIGHT / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(_HEIGHT, 0))
    axes.set_axis_off()
    axes.text(_WIDTH / 2, 24, title, ha="center", va="center", fontsize=14)
    axes.text(_WIDTH / 2, _HEIGHT - 20, caption, ha="center", va="center", fontsize=10)
    moving = before is not after
    colours = submap_colours(after.submaps)
    squares: list[tuple[Any, Any]] = []
    rims: list[tuple[Any, int, Any]] = []
    for origin, place in before.places.items():
        colour, corner = pixels[origin], before.corner(place)
        if (kept := after.places.get(origin)) is None:
            if progress:
                continue
            colour = colour + (np.array(FAINT) - colour) * fade
        elif moving:
            corner = corner + (after.corner(kept) - corner) * progress
            rims.append((corner + 1, CELL - 2, colours[kept[0]]))
        squares.append((corner.round(), colour))
    if not moving and before.submaps > 1:
        rims += [(before.corner((s, 0, 0)) - 3, before.side * CELL + 6, colours[s]) for s in range(before.submaps)]
    if windows:
        places = product(range(before.submaps), range(0, before.side, 2), range(0, before.side, 2))
        rims += [(before.corner(place), 2 * CELL, INK) for place in places]
    axes.add_collection(
        PatchCollection(
            [Rectangle(corner, CELL, CELL) for corner, _ in squares],
            facecolors=[np.asarray(colour) / 255 for _, colour in squares],
            antialiased=False,
        )
    )
    axes.add_collection(
        PatchCollection(
            [Rectangle(corner, side, side) for corner, side, _ in rims],
            facecolors="none",
            edgecolors=[np.asarray(colour) / 255 for _, _, colour in rims],
            linewidths=[1 if colour is INK else 2 for _, _, colour in rims],
        )
    )
    return rendered(figure)
