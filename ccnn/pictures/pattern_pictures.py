"""Sample patterns as pictures: panels side by side, and an animation over the steps."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ccnn.pictures.drawing import captioned, enlarge, framed, page_of
from ccnn.pictures.palette import PAPER, submap_colours
from ccnn.pictures.patterns import Pattern

_INK = (51, 34, 136)


def panel(pattern: Pattern, size: int, scale: int, colour: bool) -> Image.Image:
    """The samples among size×size pixels, each of them scale×scale pixels large; in the colour of its submap."""
    count = len(pattern.offsets)
    colours = submap_colours(count) if colour else [_INK] * count
    table = np.array([*colours, PAPER], dtype=np.uint8)  # the last, index −1, is no submap's
    return framed(enlarge(table[pattern.owners(size).numpy()], scale))


def caption(pattern: Pattern) -> str:
    """What a reader is to know of a pattern, in two lines."""
    kept, count = pattern.kept, len(pattern.offsets)
    part = "all" if kept == 1 else f"{kept} ({100 * float(kept):.3g} %)"
    submaps = "1 map" if count == 1 else f"{count} submaps"
    step = f"step {len(pattern.strides)}: {submaps}" if pattern.strides else "before: 1 map"
    return f"{step}, kept {part}\nsmallest distance {pattern.distance:.2f}"


def side_by_side(patterns: Sequence[Pattern], size: int, scale: int, colour: bool, title: str) -> Image.Image:
    """One panel for each pattern, with its caption."""
    return page_of([[captioned(panel(p, size, scale, colour), caption(p)) for p in patterns]], title)


def narrow(patterns: Sequence[Pattern], title: str) -> Image.Image:
    """Two panels in a row, 350 pixels wide if the title is not wider: what TensorBoard shows without shrinking."""
    size = max(32, patterns[-1].side)
    panels = [
        captioned(panel(p, size, max(1, 140 // size), colour=True), caption(p).replace(", ", "\n"), 14)
        for p in patterns
    ]
    return page_of([panels[i : i + 2] for i in range(0, len(panels), 2)], title, 16)


def frames(patterns: Sequence[Pattern], size: int, scale: int, colour: bool, title: str) -> list[Image.Image]:
    """A page for each pattern, all of one size."""
    pages = [side_by_side([p], size, scale, colour, title) for p in patterns]
    width, height = max(page.width for page in pages), max(page.height for page in pages)
    canvases = [Image.new("RGB", (width, height), PAPER) for _ in pages]
    for canvas, page in zip(canvases, pages, strict=True):
        canvas.paste(page, (0, 0))
    return canvases
