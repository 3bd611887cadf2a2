"""Halves of a data set as pairs of tensors, and how the training half is divided."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ccnn.errors import UserError
from ccnn.seeds import derive_seed


class Split(NamedTuple):
    """Images and labels of one half of a data set.

    Attributes:
        images: uint8, shape (N, C, H, W), 0 to 255; numbers of files, shape (N,), for images in a folder.
        labels: int64, shape (N,), counted from 0.
    """

    images: Tensor
    labels: Tensor

    def select(self, indices: Tensor) -> "Split":
        """The images and labels at `indices`, shape (M,), in that order."""
        return Split(self.images.index_select(0, indices), self.labels.index_select(0, indices))


def check(split: Split, origin: str, channels: int, image_size: int, num_classes: int) -> None:
    """Compares a data set with the config that describes it.

    Args:
        split: what was read.
        origin: where it was read from, for the message.
        channels: `data.channels`, the expected C.
        image_size: `data.image_size`, the expected H and W.
        num_classes: `data.num_classes`; labels must be below it.

    Raises:
        UserError: naming the config key, what the files hold and what the config says.
    """
    if len(split.labels) == 0:
        raise UserError(f"{origin} holds no image at all. Replace it with the whole file.")
    shape = tuple(split.images.shape[1:])
    low, high = (int(label) for label in torch.aminmax(split.labels))
    size = f"{shape[1]}x{shape[2]}"
    for key, expected, holds, agrees in (
        ("channels", channels, f"images of {shape[0]} channels", shape[0] == channels),
        ("image_size", image_size, f"images of {size} pixels", shape[1:] == (image_size, image_size)),
        ("num_classes", num_classes, f"labels from {low} to {high}", low >= 0 and high < num_classes),
    ):
        if not agrees:
            raise UserError(
                f"{origin} holds {holds}, data.{key} is {expected}. Take the override away, or point data.root at "
                "the files of this data set."
            )


@dataclass(frozen=True)
class Partition:
    """Divides a training half into images to train on and images to validate on.

    Attributes:
        validation_fraction: the part that is split off for validation, in [0, 1).
        split_seed: decides which images those are, apart from the run's seed: all runs validate on the same ones.
        train_images: how many of the rest are trained on, the same ones in every run, fewer among more; None: all.
        protocol: `honest`, or `paper`: nothing is split off, and the test set takes the validation set's place.

    Raises:
        UserError: a value is out of range.

    Example:
        >>> digits = Split(torch.arange(10), torch.zeros(10))
        >>> train, validation = Partition(0.2, split_seed=0).divide(digits, digits)
        >>> len(train.labels), len(validation.labels)
        (8, 2)
    """

    validation_fraction: float
    split_seed: int
    train_images: int | None = None
    protocol: Literal["honest", "paper"] = "honest"

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1:
            raise UserError(
                f"data.validation_fraction is {self.validation_fraction}, expected at least 0 and less than 1; "
                "0 splits nothing off."
            )
        if self.train_images is not None and self.train_images < 1:
            raise UserError(f"data.train_images is {self.train_images}, expected 1 or more, or null for all.")

    def divide(self, train: Split, test: Split) -> tuple[Split, Split | None]:
        """Returns the images to train on and to validate on; None if nothing is split off.

        Raises:
            UserError: there are too few images.
        """
        count = len(train.labels)
        # One permutation decides on both, so that validation images stay the same with fewer training images.
        generator = torch.Generator().manual_seed(derive_seed("validation", self.split_seed))
        permutation = torch.randperm(count, generator=generator)
        validation, rest = permutation.tensor_split([self._validation_count(count)])
        if self.train_images is not None and self.train_images > len(rest):
            raise UserError(
                f"data.train_images is {self.train_images}, but there are {len(rest)} images to train on "
                f"({count} without the validation set). Set it to {len(rest)} at most, or to null for all."
            )
        chosen = train.select(rest[: self.train_images].sort().values)
        if self.protocol == "paper":
            return chosen, test
        return chosen, train.select(validation.sort().values) if len(validation) else None

    def _validation_count(self, count: int) -> int:
        if self.protocol == "paper" or self.validation_fraction == 0:
            return 0
        validation_count = round(count * self.validation_fraction)
        if not 0 < validation_count < count:
            raise UserError(
                f"data.validation_fraction is {self.validation_fraction}, which splits off "
                f"{validation_count} of {count} images, expected at least 1 for either."
            )
        return validation_count
