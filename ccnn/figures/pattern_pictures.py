"""Sample patterns as pictures: panels side by side, and an animation over the steps."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ccnn.figures.drawing import MARGIN, NARROW, captioned, enlarge, framed, narrow_page, page_of, wrapped
from ccnn.figures.patterns import Pattern
from ccnn.palette import CATEGORIES, PAPER, submap_colours

_INK = CATEGORIES[0]


def panel(pattern: Pattern, size: int, scale: int, colour: bool) -> Image.Image:
    """The samples among size×size pixels, each of them scale×scale pixels large; in the colour of its submap."""
    count = len(pattern.offsets)
    colours = submap_colours(count) if colour else [_INK] * count
    table = np.array([*colours, PAPER], dtype=np.uint8)  # the last, index −1, is no submap's
    return framed(enlarge(table[pattern.owners(size).numpy()], scale))


def caption(pattern: Pattern, colour: bool = False) -> str:
    """What a reader is to know of a pattern, in three lines; of many submaps' `colour` also how it runs."""
    kept, count = pattern.kept, len(pattern.offsets)
    part = "all" if kept == 1 else f"{kept} ({100 * float(kept):.3g} %)"
    submaps = "1 map" if count == 1 else f"{count} submaps"
    order = ", from dark to light" if colour and count > len(CATEGORIES) else ""
    step = f"step {len(pattern.strides)}: {submaps}{order}" if pattern.strides else "before: 1 map"
    return f"{step}\nkept {part}\nsmallest distance {pattern.distance:.2f} pixels"


def side_by_side(patterns: Sequence[Pattern], size: int, scale: int, colour: bool, title: str) -> Image.Image:
    """One panel for each pattern, with its caption."""
    return page_of([[captioned(panel(p, size, scale, colour), caption(p, colour)) for p in patterns]], title)


def narrow(patterns: Sequence[Pattern], title: str) -> Image.Image:
    """Two panels in a row, if there are several, on a page that TensorBoard shows without shrinking it."""
    width = NARROW - 2 * MARGIN - 2  # within a frame
    size = min(max(32, patterns[-1].side), width)  # of a larger pattern its beginning
    half = (width - MARGIN) // 2 - 1
    columns = 2 if len(patterns) > 1 and size <= half else 1
    room = half if columns == 2 else width
    panels = []
    for pattern in patterns:
        text = caption(pattern, colour=True).replace("distance ", "distance\n" if columns == 2 else "distance ")
        drawn = panel(pattern, size, max(1, room // size), colour=True)
        panels.append(captioned(drawn, wrapped(text, room, 14), 14))
    return narrow_page([panels[i : i + columns] for i in range(0, len(panels), columns)], title)


def animation(
    patterns: Sequence[Pattern], size: int, scale: int, colour: bool, title: str
) -> tuple[list[Image.Image], list[int]]:
    """A page for each pattern, all of one size, and for how many milliseconds each is shown."""
    pages = [side_by_side([p], size, scale, colour, title) for p in patterns]
    width, height = max(page.width for page in pages), max(page.height for page in pages)
    canvases = [Image.new("RGB", (width, height), PAPER) for _ in pages]
    for canvas, page in zip(canvases, pages, strict=True):
        canvas.paste(page, (0, 0))
    return canvases, [1000] * (len(pages) - 1) + [2000]
