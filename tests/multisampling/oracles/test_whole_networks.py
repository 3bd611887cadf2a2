"""Whole networks of torchvision and timm in float64: submaps are the plain network's maps of shifted images."""

import copy
from math import nan
from typing import Any

import pytest
import timm
import torch
import torchvision
from reference import LATTICE, offsets_reference
from torch import Tensor, nn

import ccnn
from ccnn.multisampling.comparison import calls_of, stand_in
from ccnn.multisampling.dilation import plan_and_check

TORCHVISION = """
    alexnet densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf
    regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 vgg11_bn
"""
TIMM = """
    convnext_atto convnextv2_atto ecaresnet26t efficientnet_lite0 fbnetc_100
    gernet_s ghostnet_100 hardcorenas_a hgnet_tiny lcnet_050 mixnet_s mnasnet_small mobilenetv3_large_100
    nf_resnet26 repvgg_a0 res2net50_26w_4s resnest14d resnet18d resnet26t rexnet_100 selecsls42b semnasnet_075
    seresnet50 skresnet18 spnasnet_100 tinynet_e
"""
NETWORKS = [*TORCHVISION.split(), *TIMM.split()]
FAST = ("squeezenet1_1", "resnet18")
SIDE, FRAME = 128, 16


def cases(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in names]


def build(name: str) -> nn.Module:
    if name in TORCHVISION.split():
        return torchvision.models.get_model(name, weights=None)
    model: nn.Module = timm.create_model(name)
    return model


def framed(image: Tensor) -> Tensor:
    """The image with a frame that spoils all that depends on it, and so all that depends on padding.

    It is as wide as what strided layers without padding leave out at the edge, up to a stride of 16 in all.
    """
    framed = torch.full_like(image, nan)
    framed[:, :, FRAME:-FRAME, FRAME:-FRAME] = image[:, :, FRAME:-FRAME, FRAME:-FRAME]
    return framed


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", cases(NETWORKS))
def test_submaps_are_the_maps_of_shifted_images(name: str) -> None:
    """At every call of every module, wherever neither of the two sees a border."""
    plain = stand_in(build(name))
    converted = ccnn.convert(copy.deepcopy(plain), (3, SIDE, SIDE), "lattice")
    canvas = torch.randn(
        1, 3, SIDE + 32, SIDE + 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    # Of S = 2^n submaps the last but one: its samples are displaced both ways.
    chosen = {2**n: offsets_reference(LATTICE[:n])[2**n - 2] for n in range(1, 5)}
    folded = calls_of(converted, framed(canvas[:, :, :SIDE, :SIDE]), keep=lambda t: t[len(t) - 2 :][:1].clone())
    rows = [len(call.returned[0]) for call in calls_of(converted, canvas[:, :, :SIDE, :SIDE], keep=lambda t: t)]
    compared = {0}
    for submaps, (dy, dx) in chosen.items():
        shifted = framed(canvas[:, :, dy : dy + SIDE, dx : dx + SIDE])
        for ours, theirs, count in zip(folded, calls_of(plain, shifted), rows, strict=True):
            if count != submaps or ours.returned[0].ndim != 4:
                continue
            got, expected = ours.returned[0], theirs.returned[0]
            inside = got.isfinite() & expected.isfinite()
            torch.testing.assert_close(got[inside], expected[inside], rtol=1e-9, atol=1e-9, msg=ours.name)
            compared |= {submaps * int(inside.any())}
    assert max(compared) > 1


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", cases(NETWORKS))
def test_complete_multisampling_equals_dilation(name: str) -> None:
    try:
        _, difference = plan_and_check(build(name), (3, SIDE, SIDE))
    except ccnn.ConversionError as error:
        pytest.skip(str(error))
    # ConvNeXt-V2 divides norms of maps by their mean plus 1e-6. A joint norm is that of an average submap, a
    # dilated one that of the whole map, so the constant weighs differently.
    assert difference < (1e-6 if name.startswith("convnextv2") else 1e-9)
