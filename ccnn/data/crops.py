"""How a photograph of any size becomes a square: at random for training, one central crop for testing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF
from torchvision.transforms._presets import ImageClassification

from ccnn.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_WHERE = "data.augmentations.(the one that data.augment chooses)"


@dataclass(frozen=True)
class SingleCrop:
    """Resizes an image, takes its central square and normalises it, as torchvision's weights want it.

    Attributes:
        resize: length of the shorter side before the crop, pixels.
        crop: height and width of the crop, pixels.
        mean: of red, green and blue, pixels from 0 to 1.
        std: standard deviation, likewise.
        interpolation: `bilinear`, `bicubic`, …, with antialiasing.
    """

    resize: int
    crop: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"

    @cached_property
    def _preset(self) -> ImageClassification:
        return ImageClassification(
            crop_size=self.crop,
            resize_size=self.resize,
            mean=self.mean,
            std=self.std,
            interpolation=InterpolationMode(self.interpolation),
        )

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns float32, shape (3, crop, crop)."""
        prepared: Tensor = self._preset(image)
        return prepared

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return (
            f"shorter side to {self.resize} pixels ({self.interpolation}), central crop of "
            f"{self.crop}×{self.crop}, mean {mean}, std {std}"
        )


@dataclass(frozen=True)
class RandomCrop:
    """A crop of random size and shape at a random place, resized to a square, mirrored or not.

    Distributed like torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`.

    Attributes:
        area: smallest and largest part of the image that a crop covers; None for the central crop.
        ratio: smallest and largest width over height of a crop; None for the central crop.
        flip: mirrors left and right with probability 1/2.

    Raises:
        UserError: for values out of range.
    """

    area: Sequence[float] | None
    ratio: Sequence[float] | None
    flip: bool

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

    def __call__(self, image: Image.Image, size: int, generator: Generator) -> Tensor:
        """Returns uint8, shape (3, size, size); what is random comes from `generator` alone."""
        mirrored = torch.rand((), generator=generator).item() < 0.5
        if self.area is None or self.ratio is None:
            square = TF.center_crop(TF.resize(image, round(size * 256 / 224)), [size, size])
        else:
            box = _box(*image.size, self.area, self.ratio, generator)
            square = TF.resized_crop(image, *box, [size, size])
        pixels: Tensor = TF.pil_to_tensor(TF.hflip(square) if self.flip and mirrored else square)
        return pixels


def _box(
    width: int, height: int, areas: Sequence[float], ratios: Sequence[float], generator: Generator
) -> tuple[int, int, int, int]:
    """Draws (top, left, height, width) of a crop: the first of ten that fits, else the largest central one."""
    lowest, highest = map(math.log, ratios)
    for part, shape, top, left in torch.rand(10, 4, generator=generator, dtype=torch.float64).tolist():
        area = width * height * (areas[0] + part * (areas[1] - areas[0]))
        ratio = math.exp(lowest + shape * (highest - lowest))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    ratio = min(max(width / height, ratios[0]), ratios[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - h) // 2, (width - w) // 2, h, w
