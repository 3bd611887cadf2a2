"""Crops of photographs of any size: at random for training, central ones for testing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from ccnn.data.augment import check_keys, check_transform, seeded
from ccnn.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_WHERE = "data.augmentations.(the one that data.augment chooses)"


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) of one number or both.

    >>> height_and_width(224), height_and_width([192, 256])
    ((224, 224), (192, 256))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def enlarged(side: int) -> int:
    """The shorter side before a central crop, in ImageNet's usual proportion of 256 to 224."""
    return round(side * 256 / 224)


def _central(
    resize: int, height: int, width: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR
) -> list[Any]:
    """Resizes the shorter side, or to the proportions of a crop that is not square, and takes the central crop."""
    side = min(height, width)
    before = resize if height == width else [round(resize * length / side) for length in (height, width)]
    return [transforms.Resize(before, interpolation), transforms.CenterCrop((height, width))]


@dataclass(frozen=True)
class SingleCrop:
    """Resizes an image, takes its central crop and normalises it, as torchvision's weights want it.

    Attributes:
        resize: length of the shorter side before the crop, pixels.
        crop: height of the crop, pixels.
        mean: of red, green and blue, pixels from 0 to 1.
        std: standard deviation, likewise.
        interpolation: `bilinear`, `bicubic`, …, with antialiasing.
        width: of the crop, pixels; None for a square.
    """

    resize: int
    crop: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    width: int | None = None

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns float32, shape (3, crop, width)."""
        steps = _central(self.resize, self.crop, self.width or self.crop, InterpolationMode(self.interpolation))
        steps += [transforms.ToTensor(), transforms.Normalize(self.mean, self.std)]
        prepared: Tensor = transforms.Compose(steps)(image)
        return prepared

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return (
            f"shorter side to {self.resize} pixels ({self.interpolation}), central crop of "
            f"{self.crop}×{self.width or self.crop}, mean {mean}, std {std}"
        )


@dataclass(frozen=True)
class RandomCrop:
    """torchvision's `RandomResizedCrop`, `RandomHorizontalFlip` and any transform; their draws follow from a seed.

    Attributes:
        size: height and width of the result, pixels.
        area: smallest and largest part of the image that a crop covers; None for the central crop.
        ratio: smallest and largest width over height of a crop; None for the central crop.
        flip: mirrors left and right with probability 1/2.
        transform: of the cropped photograph, any of torchvision.transforms.v2 that keeps its size, such as
            `RandAugment`.

    Raises:
        UserError: for values out of range.
    """

    size: tuple[int, int]
    area: Sequence[float] | None
    ratio: Sequence[float] | None
    flip: bool
    transform: Callable[[Image.Image], Image.Image] | None = None

    @classmethod
    def from_config(cls, size: tuple[int, int], augmentation: Mapping[str, Any]) -> Self:
        """Takes `data.augmentation`, whose keys are area, ratio, flip and, if any, transform."""
        fields = cls.__dataclass_fields__
        check_keys(augmentation, {name: fields[name] for name in fields if name != "size"})
        return cls(size, **augmentation)

    def __post_init__(self) -> None:
        if (self.area is None) != (self.ratio is None):
            raise UserError(f"{_WHERE}: area and ratio are both null, for the central crop, or neither.")
        for name, most in (("area", 1.0), ("ratio", math.inf)):
            pair = getattr(self, name)
            if pair is not None and not (len(pair) == 2 and 0 < pair[0] <= pair[1] <= most):
                bound = ", at most 1" if name == "area" else ""
                raise UserError(
                    f"{_WHERE}.{name}: expected two numbers above 0, ascending{bound}, got {list(pair)}."
                )
        check_transform(self.transform)

    def __call__(self, image: Image.Image, seed: int) -> Tensor:
        """Returns uint8, shape (3, H, W)."""
        steps: list[Any] = [transforms.RandomHorizontalFlip()] if self.flip else []
        if self.area is None or self.ratio is None:
            steps = [*_central(enlarged(min(self.size)), *self.size), *steps]
        else:
            steps = [transforms.RandomResizedCrop(self.size, tuple(self.area), tuple(self.ratio)), *steps]
        steps += [self.transform] if self.transform else []
        with seeded(seed):
            pixels: Tensor = transforms.Compose([*steps, transforms.PILToTensor()])(image)
        return pixels
