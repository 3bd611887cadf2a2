"""The colours, as normal and as colour-blind eyes see them."""

from itertools import combinations

import numpy as np
import pytest

from ccnn.palette import CATEGORIES, PAPER, Colour, heat, submap_colours
from ccnn.report import plots

# Machado, Oliveira and Fernandes 2009, severity 1; on linear light.
EYES = {
    "all": np.eye(3).tolist(),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: Colour, eyes: str = "all") -> np.ndarray:
    """CIELAB of a colour."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(EYES[eyes]) @ linear, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def from_hex(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


PALETTES = {
    "categories": CATEGORIES,
    "submaps": tuple(submap_colours(8)),
    "report": tuple(from_hex(colour) for colour in plots.COLOURS),
}


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_that_name_things_can_be_told_apart(palette: str, eyes: str) -> None:
    """By as much as ccnn/palette.py promises."""
    for first, second in combinations(PALETTES[palette], 2):
        assert np.linalg.norm(lab(first, eyes) - lab(second, eyes)) > 22
    for colour in PALETTES[palette]:
        assert np.linalg.norm(lab(colour, eyes) - lab(PAPER, eyes)) > 40


@pytest.mark.parametrize("eyes", EYES)
def test_ramps_are_in_order_of_lightness(eyes: str) -> None:
    rising = [lab(colour, eyes)[0] for colour in submap_colours(32)]
    assert rising == sorted(rising)
    assert rising[-1] - rising[0] > 50
    falling = [lab(tuple(shade.tolist()), eyes)[0] for shade in heat(np.linspace(0, 1, 20)[None])[0]]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == pytest.approx(100, abs=0.1)
