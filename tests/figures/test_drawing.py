"""Pictures read back pixel by pixel: nothing is blurred, cut off or half written."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ccnn.errors import UserError
from ccnn.figures import drawing, explanation, feature_maps, pattern_pictures
from ccnn.figures.classification import confusion_matrix, image_grid
from ccnn.figures.methods import steps_of
from ccnn.figures.patterns import patterns
from ccnn.palette import PAPER, Pixels, submap_colours


def pixels_of(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("method", ["lattice", "three_quarters", "complete"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_panel_has_a_square_for_each_sample(method: str, step: int) -> None:
    pattern = patterns(steps_of(method, [2] * step))[-1]
    shown = pixels_of(pattern_pictures.panel(pattern, size=32, scale=5, colour=True))[1:-1, 1:-1]
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
    shown = pixels_of(pattern_pictures.panel(pattern, size=8, scale=1, colour=False))[1:-1, 1:-1]
    dark = (shown != PAPER).any(-1)
    assert len(np.unique(shown[dark], axis=0)) == 1
    assert np.array_equal(dark, pattern.owners(8).numpy() >= 0)


def test_the_animation_has_a_frame_for_each_step_and_exact_colours() -> None:
    found = patterns(steps_of("lattice", (2, 2, 2)))
    pages, times = pattern_pictures.animation(found, 16, 8, True, "lattice, stride 2")
    content = drawing.gif(pages, times)
    with Image.open(BytesIO(content)) as gif:
        assert (len(list(ImageSequence.Iterator(gif))), gif.size, gif.info["loop"]) == (4, pages[0].size, 0)
        for i, page in enumerate(pages):
            gif.seek(i)
            assert gif.info["duration"] == (2000 if i == 3 else 1000)
            shown, drawn = pixels_of(gif), pixels_of(page)
            panel = (slice(45, 45 + 128), slice(13, 13 + 128))
            assert np.array_equal(shown[panel], drawn[panel])
            assert np.abs(shown.astype(int) - drawn).max() < 24  # the edges of letters may be off a little
    assert {page.size for page in pages} == {pages[0].size}


def test_a_page_is_as_large_as_what_is_on_it() -> None:
    wide = drawing.captioned(Image.new("RGB", (10, 10), "black"), "a caption that is far wider than its picture")
    assert wide.width >= drawing.text_width("a caption that is far wider than its picture")
    page = pixels_of(drawing.page_of([[wide, wide], [wide]], "title\nof two lines"))
    white = np.all(page == 255, axis=-1)
    for border in (white[0], white[-1], white[:, 0], white[:, -1]):
        assert border.all()  # nothing is cut off
    assert (~white).sum() > 300 + 3 * 100


@pytest.mark.parametrize("steps", [1, 2, 5, 6, 8, 9])
def test_the_pattern_of_a_network_is_as_wide_as_tensorboard_shows(steps: int) -> None:
    title = "sampling=lattice, skip_first=1, only=features.*\nwhat reaches\nfeatures.denseblock1.denselayer1.conv1"
    page = pattern_pictures.narrow(patterns(steps_of("lattice", [2] * steps))[1:], title)
    assert page.width <= 350
    assert np.all(pixels_of(page)[:, -3:] == 255)  # a margin: nothing is cut off


def test_many_submaps_are_said_to_have_a_ramp_of_colours() -> None:
    few, many = patterns(steps_of("lattice", [2] * 4))[3:]
    assert pattern_pictures.caption(many, colour=True).startswith("step 4: 16 submaps, from dark to light\n")
    assert "dark" not in pattern_pictures.caption(many) + pattern_pictures.caption(few, colour=True)


def test_pillows_font_has_every_letter_that_captions_use() -> None:
    missing = drawing.font().getmask("\ue000").getbbox(), bytes(drawing.font().getmask("\ue000"))
    texts = [pattern_pictures.caption(p, colour=True) for p in patterns(steps_of("random", (2,) * 5))]
    for letter in set("".join(texts)) - {" ", "\n"}:
        mask = drawing.font().getmask(letter)
        assert (mask.getbbox(), bytes(mask)) != missing, letter


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

    assert values(first) == {tuple(p): 256 for p in pixels.reshape(-1, 3).tolist()}
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


def test_confusions_are_written_in_their_cells() -> None:
    counts = np.diag([9] * 10)
    empty = pixels_of(confusion_matrix(counts, "abcdefghij"))
    counts[0, 9] = 7
    different = pixels_of(confusion_matrix(counts, "abcdefghij")) != empty
    changed = np.argwhere(different.any(-1))
    changed = changed[changed[:, 0] > 60]  # below the title, which has other numbers
    # Cells of 30 pixels, the lower right one a margin and a frame away from the page's corner.
    top, left = empty.shape[0] - 13 - 300, empty.shape[1] - 13 - 30
    cell = changed[changed[:, 1] >= left]
    assert len(cell) == 900
    assert (cell[:, 0].min(), cell[:, 0].max()) == (top, top + 29)
    assert changed[changed[:, 1] < left][:, 1].max() < left - 8 * 30  # else only that row's first cell, now paler


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (4, 8, 8), (3, 224, 200)])
def test_images_keep_their_pixels(shape: tuple[int, int, int]) -> None:
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    page = pixels_of(image_grid(images, list("abcd"), ""))
    colours = (images[:, :3] if shape[0] >= 3 else images.expand(-1, 3, -1, -1)).permute(0, 2, 3, 1).numpy()
    start, scale = drawing.MARGIN + 1, max(1, 96 // max(shape[1:]))  # within the frame
    reduced = max(1, max(shape[1:]) // 96)
    got = page[start:, start:][: shape[1] * scale // reduced : scale, : shape[2] * scale // reduced : scale]
    if reduced == 1:
        assert np.array_equal(got, colours[0])
    else:  # of a large image, each pixel is the mean of 2×2
        means = colours[0].reshape(112, 2, 100, 2, 3).mean((1, 3))
        assert np.abs(got - means).max() <= 1


def test_files_are_complete_or_not_there(tmp_path: Path) -> None:
    drawing.write_files({tmp_path / "new/a": b"1", tmp_path / "b": b"2"})
    assert (tmp_path / "new/a").read_bytes() == b"1"
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder: cannot be written: .*directory.*choose another place"):
        drawing.write_files({tmp_path / "c": b"3", tmp_path / "folder": b"4"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "folder", "new"]
