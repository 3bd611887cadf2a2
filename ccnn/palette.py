"""Colours that stay apart for colour-blind readers and in print."""

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
Pixels = NDArray[np.uint8]
"""Red, green and blue of an image, shape (H, W, 3)."""

PAPER: Colour = (255, 255, 255)
INK: Colour = (34, 34, 34)
FAINT: Colour = (225, 225, 225)
"""Frames, and places where nothing is left."""

CATEGORIES: tuple[Colour, ...] = (
    (51, 34, 136), (230, 159, 0), (86, 180, 233), (170, 51, 119),
    (204, 51, 17), (238, 102, 119), (0, 119, 187), INK,
)  # fmt: skip
"""Colours of Okabe and Ito and of Tol, each next one as far as can be from those before it: no two are nearer than
22 in CIELAB, and none nearer than 40 to white, for normal, protanopic, deuteranopic and tritanopic eyes."""

# Lightness rises evenly from one end to the other, so the order is seen whatever the eye makes of the hue.
_RAMP: tuple[Colour, ...] = ((26, 16, 64), (91, 42, 134), (181, 54, 122), (232, 97, 60), (242, 168, 59))
_HEAT: tuple[Colour, ...] = ((255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))


def submap_colours(count: int) -> list[Colour]:
    """A colour for each submap: different ones for up to eight, more than that along a ramp from dark to light."""
    if count <= len(CATEGORIES):
        return list(CATEGORIES[:count])
    return [_colour(pixel) for pixel in _along(_RAMP, np.linspace(0, 1, count))]


def heat(values: NDArray[np.floating]) -> Pixels:
    """Numbers from 0 (white) to 1 (dark blue), shape (H, W), as colours."""
    return _along(_HEAT, values)


def _along(ramp: tuple[Colour, ...], values: NDArray[np.floating]) -> Pixels:
    places = np.linspace(0, 1, len(ramp))
    channels = [np.interp(np.clip(values, 0, 1), places, [colour[i] for colour in ramp]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _colour(pixel: Pixels) -> Colour:
    red, green, blue = (int(value) for value in pixel)
    return red, green, blue
