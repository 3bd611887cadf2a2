"""Sample patterns as pictures: panels side by side, and an animation over the steps."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ccnn.palette import CATEGORIES, PAPER, submap_colours
from ccnn.pictures.drawing import MARGIN, NARROW, captioned, enlarge, framed, narrow_page, page_of, wrapped
from ccnn.pictures.patterns import Pattern

_INK = CATEGORIES[0]
_NARROW = (NARROW - 3 * MARGIN) // 2 - 2  # pixels of a panel without its frame, two of them in a row


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
    """Two panels in a row, on a page that TensorBoard shows without shrinking it."""
    size = min(max(32, patterns[-1].side), NARROW - 2 * MARGIN - 2)  # of a larger pattern its beginning
    columns = 2 if size <= _NARROW else 1
    room = _NARROW + 2 if columns == 2 else NARROW - 2 * MARGIN
    panels = [
        captioned(panel(p, size, max(1, _NARROW // size), colour=True), wrapped(caption(p, True), room, 14), 14)
        for p in patterns
    ]
    return narrow_page([panels[i : i + columns] for i in range(0, len(panels), columns)], title)


def frames(patterns: Sequence[Pattern], size: int, scale: int, colour: bool, title: str) -> list[Image.Image]:
    """A page for each pattern, all of one size."""
    pages = [side_by_side([p], size, scale, colour, title) for p in patterns]
    width, height = max(page.width for page in pages), max(page.height for page in pages)
    canvases = [Image.new("RGB", (width, height), PAPER) for _ in pages]
    for canvas, page in zip(canvases, pages, strict=True):
        canvas.paste(page, (0, 0))
    return canvases
