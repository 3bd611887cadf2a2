"""Any Lightning data module can be trained on; what it lacks is named."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from ccnn.data.protocol import DataShape, shape_of
from ccnn.errors import UserError


class Plain(pl.LightningDataModule):
    """A data module as people write them."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        self.pairs = TensorDataset(images, labels)

    def train_dataloader(self) -> Any:
        return DataLoader(self.pairs, batch_size=3, shuffle=True)

    def test_dataloader(self) -> Any:
        return DataLoader(self.pairs, batch_size=3)


IMAGES, LABELS = torch.zeros(7, 2, 12, 20), torch.arange(7)


def test_images_that_are_not_square_are_inferred_and_nothing_is_drawn() -> None:
    state = torch.get_rng_state()
    assert shape_of(Plain(IMAGES, LABELS), {"num_classes": 9}) == DataShape((2, 12, 20), 9, 7)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("size", "expected"), [(32, (3, 32, 32)), ([24, 40], (3, 24, 40))])
def test_what_is_given_comes_first(size: Any, expected: tuple[int, int, int]) -> None:
    given = {"channels": 3, "image_size": size, "num_classes": 4}
    assert shape_of(Plain(IMAGES, LABELS), given) == DataShape(expected, 4, 7)


def test_names_of_classes_count_them() -> None:
    data = Plain(IMAGES, LABELS)
    data.class_names = ["cat", "dog"]  # type: ignore[attr-defined]
    assert shape_of(data, {}).num_classes == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Plain(IMAGES, LABELS), r"data\.num_classes: is not given and Plain has no num_classes"),
        (Plain(IMAGES[0], LABELS[:2]), r"not \(float images"),
        (Plain(IMAGES.byte(), LABELS), r"not \(float images"),
        (Plain(IMAGES, torch.zeros(7, 5)), "several labels per image are out of scope"),
        (object(), r"object has no train_dataloader\(\)"),
    ],
)
def test_what_cannot_be_trained_on_is_an_error(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        shape_of(data, {})
