"""Figures read back pixel by pixel: nothing is blurred, cut off or half written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ccnn.errors import UserError
from ccnn.figures import explanation, feature_maps, pattern_panels
from ccnn.figures.figures import write_animation
from ccnn.figures.methods import steps_of
from ccnn.figures.patterns import patterns
from ccnn.figures.picture_files import write_png
from ccnn.palette import PAPER, Pixels, submap_colours


def pixels_of(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("method", ["lattice", "three_quarters", "complete"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_panel_has_a_square_for_each_sample(method: str, step: int) -> None:
    pattern = patterns(steps_of(method, [2] * step))[-1]
    shown, _ = pattern_panels.panel(pattern, size=32, scale=5, colour=True)
    assert shown.shape == (160, 160, 3)
    squares = shown.reshape(32, 5, 32, 5, 3)
    assert (squares == squares[:, :1, :, :1]).all()  # whole squares, so no pixel is blurred
    found = {
        tuple(c): n
        for c, n in zip(*np.unique(squares[:, 0, :, 0].reshape(-1, 3), axis=0, return_counts=True), strict=True)
    }
    colours = submap_colours(len(pattern.offsets))
    each = 32 * 32 // pattern.side**2
    assert found.pop(PAPER, 0) == 32 * 32 * (1 - pattern.kept)
    assert sum(found.values()) == 32 * 32 * pattern.kept
    if len(set(colours)) == len(colours):
        assert found == dict.fromkeys(colours, each)
    y, x = pattern.offsets[-1]
    assert tuple(squares[y, 0, x, 0]) == colours[-1]


def test_without_colour_all_samples_look_alike() -> None:
    pattern = patterns(steps_of("lattice", (2, 2)))[-1]
    shown, _ = pattern_panels.panel(pattern, size=8, scale=1, colour=False)
    dark = (shown != PAPER).any(-1)
    assert len(np.unique(shown[dark], axis=0)) == 1
    assert np.array_equal(dark, pattern.owners(8).numpy() >= 0)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_the_pattern_of_a_network_is_as_wide_as_tensorboard_shows(steps: int) -> None:
    title = "sampling=lattice, skip_first=1, only=features.*\nwhat reaches\nfeatures.denseblock1.denselayer1.conv1"
    shown = pattern_panels.narrow(patterns(steps_of("lattice", [2] * steps))[1:], title)
    assert shown.width == 350
    assert np.all(pixels_of(shown)[:, -3:] == 255)  # a margin: nothing is cut off


@pytest.mark.parametrize(("method", "maps", "left"), [("traditional", 1, 16), ("lattice", 4, 64)])
def test_the_explanation_ends_with_what_is_left(method: str, maps: int, left: int) -> None:
    """Colours are made unique, so that values can be followed through the animation."""
    pixels = np.stack([np.indices((16, 16))[0] * 9, np.indices((16, 16))[1] * 9, np.full((16, 16), 77)], -1)
    pixels = pixels.astype(np.uint8)
    frames, times = explanation.animate(pixels, method, "title", "some")
    assert sum(times) == 5000
    assert len(frames) == len(times)
    assert len({frame.size for frame in frames}) == 1
    first, last = pixels_of(frames[0]), pixels_of(frames[-1])

    def values(page: Pixels) -> dict[tuple[int, ...], int]:
        colours, counts = np.unique(page.reshape(-1, 3), axis=0, return_counts=True)
        return {tuple(c): n for c, n in zip(colours.tolist(), counts, strict=True) if c[2] == 77 != c[0]}

    assert values(first) == {tuple(p): 256 for p in pixels.reshape(-1, 3).tolist()}  # squares of 16×16 pixels
    # 4×4 values of each map are left: those of each 4×4 window that two steps keep at the same place.
    kept = {tuple(c) for c in values(last)}
    offsets = patterns(steps_of(method, (2, 2)))[-1].offsets
    assert len(offsets) == maps
    assert kept == {
        tuple(pixels[y, x].tolist()) for dy, dx in offsets for y in range(dy, 16, 4) for x in range(dx, 16, 4)
    }
    assert len(kept) == left
    assert set(values(last).values()) == {256}


def test_feature_maps_are_the_plain_networks_where_it_samples() -> None:
    image = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    plain, checkered, complete = (feature_maps.levels(image, m, 3) for m in ("traditional", "lattice", "complete"))
    with torch.no_grad():
        expected = feature_maps.edge_network(3)(image[None, None])[0].sum(0)
    for levels in (plain, checkered, complete):
        torch.testing.assert_close(levels[-1].dense[::8, ::8], expected)
    assert [level.values for level in plain] == [256, 64, 16]
    assert [level.values for level in checkered] == [512, 256, 128]
    for few, more, all_places in zip(plain, checkered, complete, strict=True):
        assert few.missing > more.missing > all_places.missing == 0


def test_edges_of_a_step_are_seen_by_the_kernels_across_it() -> None:
    image = torch.zeros(8, 8)
    image[:, 4:] = 1
    with torch.no_grad():
        maps = feature_maps.edge_network(0)(image[None, None])[0]
    assert maps[:, 4, 3].max() == 1  # a Sobel kernel of weights ±1, ±2, ±1 over 4
    assert maps[:, 4, 0].max() == 0


def test_the_animation_has_a_frame_for_each_step_in_exact_colours(tmp_path: Path) -> None:
    shown = patterns(steps_of("lattice", (2, 2, 2)))
    write_animation(shown, 16, 8, True, "lattice, stride 2", tmp_path / "new/it.gif")
    with Image.open(tmp_path / "new/it.gif") as gif:
        frames = [(pixels_of(frame), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0
    assert [time for _, time in frames] == [1000, 1000, 1000, 2000]
    for (pixels, _), pattern in zip(frames, shown, strict=True):
        squares, _ = pattern_panels.panel(pattern, 16, 8, colour=True)
        colours, counts = np.unique(squares[4::8, 4::8].reshape(-1, 3), axis=0, return_counts=True)
        for colour, count in zip(colours, counts, strict=True):
            if tuple(colour) != PAPER:  # all but the frame's line, which covers a rim one pixel wide
                assert count * 49 <= (pixels == colour).all(-1).sum() <= count * 64 + 999 * (colour == 34).all()


def test_a_file_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png: cannot be written: .*directory.*choose another place"):
        write_png(Image.new("RGB", (2, 2)), tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
