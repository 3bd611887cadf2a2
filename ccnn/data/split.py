"""The pair of tensors that every reader returns, and the check that it is what the config says."""

from typing import NamedTuple

import torch
from torch import Tensor

from ccnn.errors import UserError


class Split(NamedTuple):
    """The training or the test half of a data set.

    Attributes:
        images: uint8, shape (N, C, H, W), 0 to 255.
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
    count, found_channels, height, width = split.images.shape
    remedy = "Take the override away, or point data.root at the files of this data set."
    if count == 0:
        raise UserError(f"{origin} holds no image at all. Replace it with the whole file.")
    if found_channels != channels:
        raise UserError(
            f"{origin} holds images of {found_channels} channels, data.channels is {channels}. {remedy}"
        )
    if (height, width) != (image_size, image_size):
        raise UserError(
            f"{origin} holds images of {height}x{width} pixels, data.image_size is {image_size}, "
            f"which expects {image_size}x{image_size}. {remedy}"
        )
    low, high = (int(label) for label in torch.aminmax(split.labels))
    if low < 0 or high >= num_classes:
        raise UserError(
            f"{origin} holds labels from {low} to {high}, data.num_classes is {num_classes}, "
            f"which expects 0 to {num_classes - 1}. {remedy}"
        )
