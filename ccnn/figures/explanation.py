"""The method in five seconds: how a real image is subsampled twice, as an animation of its pixels."""

from itertools import pairwise, product

import numpy as np
from PIL import Image, ImageDraw

from ccnn.figures.methods import steps_of
from ccnn.figures.page import font
from ccnn.figures.patterns import Pattern, patterns
from ccnn.palette import FAINT, INK, PAPER, Pixels, submap_colours

CELL = 16  # pixels of the picture for a value of the map
_GAP = 14  # between two submaps
_WIDTH, _HEIGHT = 340, 346


class Stage:
    """Where the values of an image are after some steps.

    Args:
        pattern: which values are left, and in which submap.
        size: height and width of the image.

    Attributes:
        submaps: their number.
        side: height and width of each.
        places: submap, row and column of each value that is left, by its (row, column) in the image.
    """

    def __init__(self, pattern: Pattern, size: int) -> None:
        self.submaps, self.side = len(pattern.offsets), size // pattern.side
        self.places = {
            (y, x): (submap, y // pattern.side, x // pattern.side)
            for (y, x), submap in np.ndenumerate(pattern.owners(size).numpy())
            if submap >= 0
        }

    def corner(self, submap: int, row: int = 0, column: int = 0) -> np.ndarray:
        """Where a value is drawn: x and y of its upper left corner, the submaps in a row around the middle."""
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
    stages = [Stage(pattern, side) for pattern in patterns(steps_of(method, (2, 2)))]
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
    pixels: Pixels, title: str, caption: str, before: Stage, after: Stage, windows: bool = False,
    fade: float = 0.0, progress: float = 0.0,
) -> Image.Image:  # fmt: skip
    """One frame between two stages: values that go have faded so far, those that stay have moved so far (0 to 1).

    Title and caption stand above and below; `windows` draws the 2×2 windows.
    """
    frame = Image.new("RGB", (_WIDTH, _HEIGHT), PAPER)
    draw = ImageDraw.Draw(frame)
    draw.text((_WIDTH / 2, 24), title, "black", font(14), anchor="mm")
    draw.text((_WIDTH / 2, _HEIGHT - 20), caption, "black", font(10), anchor="mm")

    def square(corner: np.ndarray, side: int, **style: object) -> None:
        x, y = corner.round().astype(int).tolist()
        draw.rectangle((x, y, x + side - 1, y + side - 1), **style)  # type: ignore[arg-type]

    moving, colours = before is not after, submap_colours(after.submaps)
    for origin, place in before.places.items():
        colour, corner, rim = pixels[origin], before.corner(*place), None
        if (kept := after.places.get(origin)) is None:
            if progress:
                continue
            colour = colour + (np.array(FAINT) - colour) * fade
        elif moving:
            corner = corner + (after.corner(*kept) - corner) * progress
            rim = colours[kept[0]]
        square(corner, CELL, fill=tuple(colour.astype(int)), outline=rim, width=2)
    if not moving and before.submaps > 1:
        for submap, outline in enumerate(colours):
            square(before.corner(submap) - 4, before.side * CELL + 8, outline=outline, width=3)
    if windows:
        for place in product(range(before.submaps), range(0, before.side, 2), range(0, before.side, 2)):
            square(before.corner(*place), 2 * CELL, outline=INK)
    return frame
