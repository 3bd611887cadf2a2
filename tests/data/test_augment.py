"""Augmentation of whole batches is torchvision's of single images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as reference
from torchvision.transforms import v2

from ccnn.data import Augmentation, normalise
from ccnn.data.augment import Draws, crop_and_flip, denormalise, rotate
from ccnn.errors import UserError


def random_images(count: int, channels: int, size: int) -> Tensor:
    """Without zeros, so that what comes from outside is told apart."""
    generator = torch.Generator().manual_seed(count + size)
    return torch.randint(1, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def by_torchvision(image: Tensor, draws: Draws, index: int, augmentation: Augmentation) -> Tensor:
    """One image at a time, with torchvision's functions: rotation, crop, flip."""
    size = image.shape[-1]
    if augmentation.rotation:
        image = reference.rotate(image, float(draws.angles[index]), fill=[0.0] * len(image))
    if augmentation.crop_padding:
        image = reference.pad(image, [augmentation.crop_padding])
        image = reference.crop(image, int(draws.tops[index]), int(draws.lefts[index]), size, size)
    return reference.hflip(image) if draws.flips[index] else image


@pytest.mark.parametrize("size", [16, 28, 32, 7])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(crop_padding=4, flip=True, rotation=0.0),
        Augmentation(crop_padding=2, flip=False, rotation=0.0),
        Augmentation(crop_padding=0, flip=True, rotation=0.0),
        Augmentation(crop_padding=0, flip=False, rotation=15.0),
        Augmentation(crop_padding=2, flip=True, rotation=180.0),
    ],
)
def test_every_image_is_transformed_exactly_as_by_torchvision(
    augmentation: Augmentation, channels: int, size: int
) -> None:
    images = random_images(40, channels, size)
    draws = augmentation.draw(40, torch.Generator().manual_seed(1))
    expected = torch.stack([by_torchvision(x, draws, i, augmentation) for i, x in enumerate(images)])
    before = images.clone()
    actual = augmentation(images, torch.Generator().manual_seed(1))
    assert actual.dtype == torch.uint8
    assert torch.equal(actual, expected)
    assert not torch.equal(actual, images)
    assert torch.equal(images, before), "the data set itself must stay as it is"


def test_no_augmentation_changes_nothing() -> None:
    images = random_images(10, 3, 32)
    assert torch.equal(Augmentation(0, False, 0.0)(images, torch.Generator()), images)


def test_without_flip_nothing_is_mirrored() -> None:
    draws = Augmentation(2, False, 15.0).draw(1000, torch.Generator().manual_seed(0))
    assert not draws.flips.any()
    assert draws.tops.unique().tolist() == draws.lefts.unique().tolist() == [0, 1, 2, 3, 4]


def test_the_middle_crop_that_is_not_mirrored_is_the_image() -> None:
    images, draws = random_images(10, 3, 32), Augmentation(0, False, 0.0).draw(10, torch.Generator())
    assert torch.equal(crop_and_flip(images, 0, draws.tops, draws.lefts, draws.flips), images)
    assert torch.equal(crop_and_flip(images, 4, draws.tops + 4, draws.lefts + 4, draws.flips), images)
    assert torch.equal(rotate(images, draws.angles), images)


@pytest.mark.parametrize("degrees", [15, 180])
@pytest.mark.parametrize("size", [16, 28, 32])
def test_few_pixels_differ_from_torchvisions_rotation_of_pil_images(size: int, degrees: int) -> None:
    """Those whose source lies within a rounding error of two pixels: 0.007 % to 0.019 % were measured."""
    images = random_images(400, 1, size)
    angles = (torch.rand(400, generator=torch.Generator().manual_seed(0)) * 2 - 1) * degrees
    pairs = zip(images, angles.tolist(), strict=True)
    theirs = np.stack(
        [np.asarray(reference.rotate(reference.to_pil_image(image), angle)) for image, angle in pairs]
    )
    assert (rotate(images, angles)[:, 0].numpy() != theirs).mean() < 0.0005


def test_draws_are_uniform_and_independent() -> None:
    count = 90_000
    draws = Augmentation(crop_padding=4, flip=True, rotation=15.0).draw(count, torch.Generator().manual_seed(0))
    cells = (draws.tops * 9 + draws.lefts) * 2 + draws.flips
    counts = cells.bincount(minlength=162).double()
    expected = count / 162
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 233  # 99.99 % of chi-square with 161 degrees of freedom
    assert draws.angles.abs().max() <= 15
    deciles = ((draws.angles + 15) / 3).long().bincount(minlength=10).double()
    assert ((deciles - count / 10) ** 2 / (count / 10)).sum() < 34  # 99.99 % with 9 degrees of freedom
    correlations = torch.corrcoef(torch.stack([each.double() for each in draws])) - torch.eye(4)
    assert correlations.abs().max() < 4.5 / count**0.5


@pytest.mark.parametrize("transform", [None, v2.RandAugment(), v2.TrivialAugmentWide()])
def test_the_generator_alone_decides(transform: Any) -> None:
    images, augmentation = random_images(50, 1, 28), Augmentation(2, True, 15.0, transform)
    torch.manual_seed(0)
    first = augmentation(images, torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(augmentation(images, torch.Generator().manual_seed(7)), first)
    assert not torch.equal(augmentation(images, torch.Generator().manual_seed(8)), first)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not drawn from"


def test_a_transform_is_applied_last_and_drawn_for_every_image() -> None:
    images, plain = random_images(50, 3, 32), Augmentation(4, True, 15.0)
    inverted = replace(plain, transform=v2.RandomInvert(p=1.0))(images, torch.Generator().manual_seed(3))
    assert torch.equal(inverted, 255 - plain(images, torch.Generator().manual_seed(3)))
    alike = images[:1].expand(50, -1, -1, -1)
    different = Augmentation(0, False, 0.0, v2.RandAugment())(alike, torch.Generator().manual_seed(3))
    assert len({image.numpy().tobytes() for image in different}) > 25


@pytest.mark.parametrize(
    "arguments",
    [
        {"transform": {"num_ops": 2}},
        {"crop_padding": -1},
        {"crop_padding": 1.5},
        {"flip": "maybe"},
        {"rotation": -1.0},
        {"rotation": 200.0},
        {"rotation": "ten"},
    ],
)
def test_impossible_parameters_are_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"data.augmentations.*\.{next(iter(arguments))}: expected .*got"):
        Augmentation(**{"crop_padding": 0, "flip": False, "rotation": 0.0, **arguments})


def test_normalisation_is_torchvisions() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    mean, std = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
    expected = reference.normalize(images.double() / 255, mean, std)
    actual = normalise(images, mean, std)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-6)


def test_denormalise_is_the_inverse_of_normalise() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    assert torch.equal(denormalise(normalise(images, mean, std), mean, std), images)
    assert denormalise(torch.tensor([-99.0, 99.0]).view(1, 1, 1, 2), (0.5,), (0.5,)).flatten().tolist() == [0, 255]
