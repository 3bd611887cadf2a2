"""Augmentation and normalisation of whole batches, distributed like torchvision's per-image transforms."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ccnn.errors import UserError


class Draws(NamedTuple):
    """What was drawn for each image of a batch, on the CPU.

    Attributes:
        angles: float64, shape (N,), degrees counter-clockwise.
        tops: int64, shape (N,), first row of the crop in the padded image, pixels.
        lefts: int64, shape (N,), first column of the crop in the padded image, pixels.
        flips: bool, shape (N,), whether the image is mirrored.
    """

    angles: Tensor
    tops: Tensor
    lefts: Tensor
    flips: Tensor


_WHERE = "data.augmentations.(the one that data.augment chooses)"


@dataclass(frozen=True)
class Augmentation:
    """Rotates, crops and flips each image of a batch at random, in this order; then applies a transform, if any.

    Attributes:
        crop_padding: pixels of zeros put around an image before a crop of its old size is taken anywhere
            (torchvision's `RandomCrop(size, padding=crop_padding)`); 0 for no crop.
        flip: mirrors left and right with probability 1/2 (`RandomHorizontalFlip()`).
        rotation: degrees; the angle is uniform in ±rotation, nearest neighbour, zeros from outside
            (`RandomRotation(rotation)`); 0 for none.
        transform: of one uint8 image (C, H, W), any of torchvision.transforms.v2 that keeps its shape, such as
            `RandAugment`; takes its turn with every image. It may draw from torch's global generator.

    Raises:
        UserError: for negative numbers, a rotation above 180, or values of another type.

    Example:
        >>> augmentation = Augmentation(crop_padding=4, flip=True, rotation=0.0)
        >>> images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
        >>> augmentation(images, torch.Generator().manual_seed(0)).shape
        torch.Size([8, 3, 32, 32])
    """

    crop_padding: int
    flip: bool
    rotation: float
    transform: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def from_config(cls, augmentation: Mapping[str, Any]) -> Self:
        """Takes `data.augmentation`, whose keys are the attributes; `transform` may be left out."""
        check_keys(augmentation, cls.__dataclass_fields__)
        return cls(**augmentation)

    def __post_init__(self) -> None:
        pixels, degrees = self.crop_padding, self.rotation
        if type(pixels) is not int or pixels < 0:
            raise UserError(f"{_WHERE}.crop_padding: expected a number of pixels, 0 for no crop, got {pixels!r}.")
        if not isinstance(self.flip, bool):
            raise UserError(f"{_WHERE}.flip: expected true or false, got {self.flip!r}.")
        if type(degrees) not in (int, float) or not 0 <= degrees <= 180:
            raise UserError(f"{_WHERE}.rotation: expected 0 (none) to 180 degrees, got {degrees!r}.")
        check_transform(self.transform)

    def draw(self, count: int, generator: Generator) -> Draws:
        """Draws for `count` images, from a generator on the CPU so that every device gets the same."""
        turns = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
        corners = torch.randint(2 * self.crop_padding + 1, (2, count), generator=generator)
        flips = torch.rand(count, generator=generator) < (0.5 if self.flip else 0.0)
        return Draws(turns * self.rotation, corners[0], corners[1], flips)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Applies what was drawn to uint8 `images`, shape (N, C, H, W), and returns the same shape."""
        if self.rotation > 0:
            images = rotate(images, draws.angles)
        if self.crop_padding > 0 or self.flip:
            images = crop_and_flip(images, self.crop_padding, draws.tops, draws.lefts, draws.flips)
        return images

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Augments uint8 `images`, shape (N, C, H, W), on their device; returns the same shape and type."""
        images = self.apply(images, self.draw(len(images), generator))
        if self.transform is None:
            return images
        with seeded(int(torch.randint(2**62, (), generator=generator))):
            return torch.stack([self.transform(image) for image in images])


def check_keys(augmentation: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises unless `data.augmentation` has the keys that a dataclass has as fields; defaults may be missing."""
    required = {name for name, field in known.items() if field.default is MISSING}
    if not required <= augmentation.keys() <= known.keys():
        raise UserError(
            f"data.augmentation has the keys {sorted(augmentation)}, expected exactly {sorted(required)}, and "
            "transform if there is one."
        )


def check_transform(transform: object) -> None:
    """Raises unless a transform can be called."""
    if transform is not None and not callable(transform):
        raise UserError(
            f"{_WHERE}.transform: expected null, or a mapping whose _target_ is a transform such as "
            f"torchvision.transforms.v2.RandAugment, got {transform!r}."
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the CPU's global generator, from which torchvision draws; training finds it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Rotates each image about its centre as `torchvision.transforms.functional.rotate` does.

    Args:
        images: uint8, shape (N, C, H, W).
        angles: degrees counter-clockwise, shape (N,).

    Returns:
        uint8, shape (N, C, H, W), by nearest neighbour, zeros where the source lies outside.
    """
    height, width = images.shape[-2:]
    radians = angles.double() * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # The source of each target pixel: (x, y) in pixels from the centre, then as parts of half the image.
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).float()
    # On the CPU, where the angles are: a division on the GPU would have to wait for them.
    matrices /= matrices.new_tensor([[0.5 * width], [0.5 * height]])
    matrices = matrices.to(images.device, non_blocking=True)
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device) - 0.5 * (height - 1),
        torch.arange(width, device=images.device) - 0.5 * (width - 1),
        indexing="ij",
    )
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3).expand(len(images), -1, -1)
    grid = pixels.bmm(matrices.transpose(1, 2)).view(-1, height, width, 2)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)


def crop_and_flip(images: Tensor, padding: int, tops: Tensor, lefts: Tensor, flips: Tensor) -> Tensor:
    """Pads with zeros, takes a crop of the old size from each image and mirrors some, all in one gather.

    Args:
        images: uint8, shape (N, C, H, W).
        padding: pixels put on every side.
        tops: first row of each crop in the padded image, shape (N,).
        lefts: first column, shape (N,).
        flips: whether to mirror left and right after the crop, shape (N,).

    Returns:
        uint8, shape (N, C, H, W).
    """
    count, channels, height, width = images.shape
    tops, lefts, flips = (drawn.to(images.device, non_blocking=True)[:, None] for drawn in (tops, lefts, flips))
    column = torch.arange(width, device=images.device)
    rows = tops + torch.arange(height, device=images.device)
    columns = lefts + torch.where(flips, width - 1 - column, column)
    pixels = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
    padded = F.pad(images, (padding,) * 4).flatten(2)
    return padded.gather(2, pixels.view(count, 1, -1).expand(-1, channels, -1)).view_as(images)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Computes (images / 255 - mean) / std, as one multiplication and one addition in place.

    Args:
        images: uint8, shape (N, C, H, W).
        mean: C numbers, of pixels from 0 to 1.
        std: C numbers, likewise.

    Returns:
        float32, shape (N, C, H, W).
    """
    factor, offset = _factor_and_offset(tuple(mean), tuple(std), images.device)
    return images.float().mul_(factor).add_(offset)


@cache
def _factor_and_offset(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Kept on the device: a copy there for every batch would make it wait."""
    centre, scale = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
    return (1 / (255 * scale)).float().to(device), (-centre / scale).float().to(device)


def denormalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Inverts `normalise`: float images (N, C, H, W) as uint8 pixels, clipped to their range."""
    centre = torch.tensor(mean, device=images.device).view(-1, 1, 1)
    scale = torch.tensor(std, device=images.device).view(-1, 1, 1)
    return ((images.float() * scale + centre) * 255).round().clamp(0, 255).to(torch.uint8)
