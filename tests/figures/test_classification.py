"""Figures of a classifier: as wide as TensorBoard shows them, with counts and names where they have room."""

import numpy as np
import pytest
import torch

from ccnn.data.class_names import CLASS_NAMES
from ccnn.figures.classification import confusion_matrix, image_grid, rendered
from ccnn.figures.page import MARGIN, NARROW

NAMES = {
    "fashion_mnist": CLASS_NAMES["fashion_mnist"],
    "four": ("a class of a very long name", "cat", "dog", "fox"),
    "imagenet": tuple(f"class of number {number}" for number in range(1000)),
}


@pytest.mark.parametrize("data", NAMES)
def test_a_confusion_matrix_counts_each_class_and_lists_confusions_of_many(data: str) -> None:
    names = NAMES[data]
    counts = torch.eye(len(names), dtype=torch.long) * 900
    counts[2, 1] = 123
    figure = confusion_matrix(counts, names)
    (axes,) = figure.axes
    assert rendered(figure).width == NARROW
    wrong = 100 * 123 / (900 * len(names) + 123)
    assert axes.get_title() == f"{900 * len(names) + 123:,} test images, {wrong:.2f} % wrong"
    if len(names) <= 20:
        cells = {text.get_position(): text.get_text() for text in axes.texts}
        assert cells == {(i, i): "900" for i in range(len(names))} | {(1, 2): "123"}
        assert axes.get_ylabel() == "true class"
    else:
        assert axes.get_xlabel().splitlines()[2:] == ["123: class of number 2, predicted class of number 1"]


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (4, 8, 8), (3, 200, 200)])
def test_images_keep_their_pixels(shape: tuple[int, int, int]) -> None:
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shown = np.asarray(image_grid(images, list("abcd"), ""))
    assert shown.shape[1] == NARROW
    colours = (images[:, :3] if shape[0] >= 3 else images.expand(-1, 3, -1, -1)).permute(0, 2, 3, 1).numpy()
    side, scale = shape[1], 100 // shape[1]
    # Inside the frame, whose line blends into two pixels on each side.
    if scale:
        panel = shown[MARGIN : MARGIN + side * scale, MARGIN : MARGIN + side * scale]
        centres = panel[scale // 2 :: scale, scale // 2 :: scale]
        assert np.array_equal(centres[1:-1, 1:-1], colours[0, 1:-1, 1:-1])
    else:  # The mean of 2×2 pixels.
        means = colours[0].reshape(100, 2, 100, 2, 3).mean((1, 3))
        panel = shown[MARGIN : MARGIN + 100, MARGIN : MARGIN + 100]
        assert np.abs(panel[2:-2, 2:-2] - means[2:-2, 2:-2]).max() <= 1


def test_long_captions_are_wrapped() -> None:
    images, long = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), "is a class of a very long name"
    by_hand = ["is a class of a\nvery long name"] * 3
    assert image_grid(images, [long] * 3, "") == image_grid(images, by_hand, "")
    assert image_grid(images, [long] * 3, "") != image_grid(images, [long[:20]] * 3, "")
