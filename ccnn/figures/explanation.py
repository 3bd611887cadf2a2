"""The method in five seconds: how a real image is subsampled twice, as an animation of its pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw

from ccnn.figures.drawing import MARGIN, TEXT, line_height, text_width, write_text
from ccnn.figures.methods import steps_of
from ccnn.multisampling.samplers import Assignment
from ccnn.palette import FAINT, INK, PAPER, Colour, Pixels, submap_colours

CELL = 16  # pixels of the picture for a value of the map
_GAP = 14  # between two submaps
_WIDTH = 340
_TITLE = 20  # height of its letters

Place = tuple[int, int, int]
"""Submap, row and column."""


@dataclass(frozen=True)
class Stage:
    """Where the values that are left are after some steps.

    Attributes:
        places: where each value is now, by its (row, column) in the first map.
        submaps: how many there are.
        side: height and width of each.
    """

    places: dict[tuple[int, int], Place]
    submaps: int
    side: int

    def after(self, assignment: Assignment) -> "Stage":
        """One step of stride 2 further."""
        samplers = assignment * self.submaps if len(assignment) == 1 else assignment
        places = {}
        for origin, (submap, row, column) in self.places.items():
            for kept, position in enumerate(samplers[submap]):
                if position == (row % 2, column % 2):
                    places[origin] = (kept * self.submaps + submap, row // 2, column // 2)
        return Stage(places, self.submaps * len(samplers[0]), self.side // 2)

    def corner(self, place: Place) -> tuple[float, float]:
        """Where a value is drawn: x and y of its upper left corner, the submaps in a row around the middle."""
        submap, row, column = place
        across = self.side * CELL
        left = (_WIDTH - self.submaps * across - (self.submaps - 1) * _GAP) / 2
        return left + submap * (across + _GAP) + column * CELL, row * CELL - across / 2


def animate(pixels: Pixels, method: str, title: str, kept: str) -> tuple[list[Image.Image], list[int]]:
    """The frames of the animation, and for how many milliseconds each is shown.

    Args:
        pixels: a small image, shape (H, H, 3), H a multiple of 4.
        method: a sampling method.
        title: what stands above.
        kept: what the method keeps of each window, in words.
    """
    side = len(pixels)
    stage = Stage({(y, x): (0, y, x) for y in range(side) for x in range(side)}, 1, side)
    stages = [stage]
    for _, assignment in steps_of(method, (2, 2)):
        stages.append(stages[-1].after(assignment))
    canvas = _Canvas(pixels, title)
    frames = [canvas.draw(stages[0], stages[0], caption=f"a feature map of {side} x {side} values")]
    times = [800]
    for count, (before, after) in enumerate(pairwise(stages), start=1):
        layer = "a layer of stride 2 keeps" if count == 1 else "the next one keeps"
        for fade, time in ((0.0, 300), (0.4, 80), (0.8, 80), (1.0, 400)):
            frames.append(canvas.draw(before, after, caption=f"{layer} {kept}", windows=True, fade=fade))
            times.append(time)
        for progress in _eased(6):
            frames.append(canvas.draw(before, after, caption=_left(after, side), progress=progress))
            times.append(50)
        frames.append(canvas.draw(after, after, caption=_left(after, side)))
        times.append(500)
    times[-1] = 5000 - sum(times[:-1])
    return frames, times


def _left(stage: Stage, side: int) -> str:
    maps = "1 map" if stage.submaps == 1 else f"{stage.submaps} submaps"
    part = len(stage.places) / side**2
    return f"{maps} of {stage.side} x {stage.side}: {part:.0%} of the values".replace("%", " %")


def _eased(count: int) -> Iterator[float]:
    """From above 0 to below 1, slowly at both ends."""
    for i in range(1, count + 1):
        part = i / (count + 1)
        yield part * part * (3 - 2 * part)


class _Canvas:
    """Draws the values of one image."""

    def __init__(self, pixels: Pixels, title: str) -> None:
        self.pixels, self.title = pixels, title
        self.middle = MARGIN + line_height(_TITLE) + 6 + len(pixels) * CELL // 2
        self.height = self.middle + len(pixels) * CELL // 2 + 10 + line_height(TEXT) + MARGIN

    def draw(
        self,
        before: Stage,
        after: Stage,
        caption: str,
        windows: bool = False,
        fade: float = 0.0,
        progress: float = 0.0,
    ) -> Image.Image:
        """One frame between two stages.

        Args:
            before: where values are now.
            after: where those go that are kept.
            caption: below the map.
            windows: draw the 2x2 windows, and a rim in the colour of its next submap around what is kept.
            fade: how far what is not kept is gone, 0 to 1.
            progress: how far what is kept has moved, 0 to 1.
        """
        image = Image.new("RGB", (_WIDTH, self.height), PAPER)
        write_text(image, ((_WIDTH - text_width(self.title, _TITLE)) // 2, MARGIN), self.title, _TITLE)
        write_text(image, ((_WIDTH - text_width(caption)) // 2, self.height - MARGIN - line_height()), caption)
        drawing = ImageDraw.Draw(image)
        for origin, place in before.places.items():
            kept = after.places.get(origin)
            colour, rim = self._colour(origin), None
            x, y = before.corner(place)
            if kept is None:
                if progress > 0:
                    continue
                colour = _mixed(colour, FAINT, fade)
            elif before is not after:
                there = after.corner(kept)
                x, y = x + (there[0] - x) * progress, y + (there[1] - y) * progress
                rim = submap_colours(after.submaps)[kept[0]]
            self._square(drawing, (x, y), CELL, colour, rim)
        if before is after and before.submaps > 1:
            for submap, colour in enumerate(submap_colours(before.submaps)):
                x, y = before.corner((submap, 0, 0))
                self._square(drawing, (x - 4, y - 4), before.side * CELL + 8, None, colour)
        if windows:
            self._windows(drawing, before)
        return image

    def _colour(self, origin: tuple[int, int]) -> Colour:
        red, green, blue = (int(value) for value in self.pixels[origin])
        return red, green, blue

    def _square(
        self,
        drawing: ImageDraw.ImageDraw,
        corner: tuple[float, float],
        side: int,
        fill: Colour | None,
        rim: Colour | None,
    ) -> None:
        x, y = round(corner[0]), self.middle + round(corner[1])
        drawing.rectangle((x, y, x + side - 1, y + side - 1), fill, rim, 3 if rim else 0)

    def _windows(self, drawing: ImageDraw.ImageDraw, stage: Stage) -> None:
        for submap in range(stage.submaps):
            for row in range(0, stage.side, 2):
                for column in range(0, stage.side, 2):
                    x, y = stage.corner((submap, row, column))
                    left, upper = round(x), self.middle + round(y)
                    drawing.rectangle((left - 1, upper - 1, left + 2 * CELL, upper + 2 * CELL), None, INK)


def _mixed(first: Sequence[int], second: Sequence[int], part: float) -> Colour:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue
