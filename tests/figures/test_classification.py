"""Pictures of a classifier: none wider than TensorBoard shows without shrinking it, none cut off."""

import numpy as np
import pytest
import torch
from PIL import Image

from ccnn.data.class_names import CLASS_NAMES
from ccnn.figures import classification, drawing
from ccnn.figures.classification import confusion_matrix, image_grid

NAMES = {
    **CLASS_NAMES,
    "mnist": tuple("0123456789"),
    "four": ("a class of a very long name", "cat", "dog", "fox"),
    "imagenet": tuple(f"class of number {number}" for number in range(1000)),
}


def nothing_is_cut_off(page: Image.Image) -> bool:
    """A margin is left on each side."""
    white = np.all(np.asarray(page) == 255, axis=-1)
    return all(border.all() for border in (white[:3], white[-3:], white[:, :3], white[:, -3:]))


@pytest.mark.parametrize("most", [1, 100, 1000, 9_999, 100_000])
@pytest.mark.parametrize("data", NAMES)
def test_a_confusion_matrix_is_as_wide_as_tensorboard_shows(data: str, most: int) -> None:
    counts = np.random.default_rng(0).integers(0, most // 10 + 1, (len(NAMES[data]),) * 2)
    np.fill_diagonal(counts, most)
    page = confusion_matrix(counts, NAMES[data])
    assert 250 <= page.width <= 350
    assert nothing_is_cut_off(page)


@pytest.mark.parametrize("size", [16, 28, 32, 160, 224])
@pytest.mark.parametrize("data", NAMES)
def test_an_image_grid_is_as_wide_as_tensorboard_shows(data: str, size: int) -> None:
    longest = max(NAMES[data], key=drawing.text_width)
    captions = [f"is {longest}\nsaid {longest}\n100 % sure"] * 15
    title = "training images as the network\nsees them, 15 of the first batch"
    page = image_grid(torch.zeros(15, 3, size, size, dtype=torch.uint8), captions, title)
    assert page.width <= 350
    assert nothing_is_cut_off(page)


@pytest.mark.parametrize("data", ["fashion_mnist", "cifar10", "four"])
def test_names_are_written_whole(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(classification, "write_text", lambda image, place, text, *style: written.append(text))
    confusion_matrix(np.eye(len(NAMES[data]), dtype=np.int64), NAMES[data])
    assert set(NAMES[data]) < set(written)


def test_text_is_wrapped_at_spaces_and_too_long_a_word_is_cut() -> None:
    text = "said aquarium fish\nfeatures.denseblock1.denselayer1"
    lines = drawing.wrapped(text, 100, 14).split("\n")
    assert lines[:2] == ["said aquarium", "fish"]
    assert lines[2].startswith("features.den")
    assert lines[2].endswith("…")
    assert all(drawing.text_width(line, 14) <= 100 for line in lines)
    assert drawing.wrapped(text, 1000) == text


def test_counts_without_room_become_parts_of_their_row() -> None:
    """One count too many for its cell turns all into percent, which are the same for the tenfold of all counts."""
    counts = np.full((10, 10), 5_000)
    many, more = (np.asarray(confusion_matrix(counts * n, NAMES["cifar10"])) for n in (20, 200))
    few = np.asarray(confusion_matrix(counts, NAMES["cifar10"]))
    assert np.array_equal(many[60:], more[60:])  # below the title's first lines
    assert many.shape[0] == few.shape[0] + drawing.line_height(drawing.TEXT)
