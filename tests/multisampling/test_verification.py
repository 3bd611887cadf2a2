"""ccnn.verify() passes what conversion promises and names what breaks it."""

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import ccnn
from ccnn.models import resnet

IMAGE = (3, 32, 32)


def small_resnet() -> nn.Module:
    return resnet(18, channels=(8, 12, 16, 20))


def promises(model: nn.Module) -> list[bool]:
    return [check.difference is not None for check in ccnn.verify(model).checks]


@pytest.mark.parametrize("sampling", ["naive", "lattice", "random"])
def test_a_converted_network_keeps_its_promises(sampling: str) -> None:
    model = ccnn.convert(small_resnet(), IMAGE, sampling).train()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    verification = ccnn.verify(model)
    for check in verification.checks[:2]:
        assert check.difference is not None
        assert check.difference < 1e-12
    assert "the last of 'stages'" in str(verification)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_complete_multisampling_is_compared_with_dilation() -> None:
    assert promises(ccnn.convert(small_resnet(), IMAGE)) == [True, True, True]


def test_maps_are_compared_until_a_layer_sees_all_submaps() -> None:
    model = ccnn.convert(torchvision.models.mobilenet_v3_small(), (3, 64, 64))
    assert "the last of 'features.1.block.0'" in str(ccnn.verify(model))


def test_what_does_not_apply_says_why() -> None:
    sampling = ccnn.Sampling("custom", samplers=[[[0, 1], [1, 0]]])
    check = ccnn.verify(ccnn.convert(small_resnet(), IMAGE, sampling)).checks[1]
    assert check.difference is None
    assert str(check).endswith("not checked (sampling=custom keeps another position first)")


class Mixed(nn.Module):
    """Adds to each image the one before it in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.roll(1, 0)


def test_images_that_mix_are_named() -> None:
    model: Any = ccnn.convert(small_resnet(), IMAGE)
    model.stages[2] = nn.Sequential(model.stages[2], Mixed())
    with pytest.raises(ccnn.ConversionError, match=r"verify: the output of an image changes by .* with its batch"):
        ccnn.verify(model)


class Doubled:
    """A hook that doubles the output of a layer which yields submaps."""

    def __call__(self, module: nn.Module, args: tuple[Tensor], x: Tensor) -> Tensor:
        return x * 2 if getattr(module, "submaps_out", 1) > 1 else x


def test_a_first_submap_that_differs_is_named() -> None:
    model = ccnn.convert(small_resnet(), IMAGE)
    model.get_submodule("stages.2.0.branch.0").register_forward_hook(Doubled())
    with pytest.raises(ccnn.ConversionError, match=r"verify: the first submap of 'stages.2.0.branch.0' differs"):
        ccnn.verify(model)


def test_only_converted_networks_are_verified() -> None:
    with pytest.raises(ValueError, match="this model was not converted"):
        ccnn.verify(small_resnet())
