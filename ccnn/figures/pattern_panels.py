"""Sample patterns as panels of coloured squares with captions."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from PIL import Image

from ccnn.figures.page import MARGIN, NARROW, Panel, enlarge, page
from ccnn.figures.patterns import Pattern
from ccnn.palette import CATEGORIES, PAPER, submap_colours


def panel(pattern: Pattern, size: int, scale: int, colour: bool) -> Panel:
    """The samples among size×size pixels, as squares of scale×scale pixels; `colour` tells submaps apart."""
    count = len(pattern.offsets)
    colours = submap_colours(count) if colour else [CATEGORIES[0]] * count
    table = np.array([*colours, PAPER], dtype=np.uint8)  # The last one, at index −1, stands for no submap.
    return enlarge(table[pattern.owners(size).numpy()], scale), caption(pattern, colour)


def caption(pattern: Pattern, colour: bool = False) -> str:
    """Step, submaps, part of the pixels that are kept, and smallest distance, in three lines."""
    kept, count = pattern.kept, len(pattern.offsets)
    part = "all" if kept == 1 else f"{kept} ({100 * float(kept):.3g} %)"
    submaps = "1 map" if count == 1 else f"{count} submaps"
    order = ", dark to light" if colour and count > len(CATEGORIES) else ""
    step = f"step {len(pattern.strides)}: {submaps}{order}" if pattern.strides else "before: 1 map"
    return f"{step}\nkept {part}\nsmallest distance {pattern.distance:.2f} pixels"


def narrow(patterns: Sequence[Pattern], title: str) -> Image.Image:
    """Two panels per row, if there are several, on a page that TensorBoard shows without shrinking it."""
    columns = 1 if len(patterns) == 1 else 2
    room = (NARROW - MARGIN) // columns - MARGIN
    size = min(max(32, patterns[-1].side), room)  # Of a larger pattern, its beginning.
    panels = []
    for pattern in patterns:
        image, text = panel(pattern, size, room // size, colour=True)
        panels.append((image, _wrapped(text, 52 // columns)))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    titles = [_wrapped(title, 42), *[""] * len(rows)]
    return page(list(zip(titles, rows, strict=False)), points=7, width=NARROW)


def _wrapped(text: str, characters: int) -> str:
    return "\n".join(fill(line, characters) for line in text.splitlines())
