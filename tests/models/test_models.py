"""The paper's networks: their size, and that each works with each data set, converted or not."""

from itertools import pairwise

import pytest
import torch
import torchvision
from experiments import Compose
from small_networks import MODELS, NAMED
from torch import nn

import ccnn
from ccnn.config import CONF
from ccnn.models import VGG, DenseNet, WideResNet, resnet
from ccnn.training.build import build

DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


# The paper's own counts (Tables 7 and 8, "Training recipes"), and 36.5 million of the Wide-ResNet's authors.
def test_parameters_are_the_papers() -> None:
    assert PARAMETERS["toy"] == 67_913
    assert PARAMETERS["toy_2x3x3"] == 93_833
    assert PARAMETERS["resnet18_tiny"] == 2_112_546
    assert PARAMETERS["resnet50_tiny"] == 3_301_349
    assert [round(PARAMETERS[f"resnet{depth}"] / 1e6, 1) for depth in (18, 50)] == [11.2, 23.5]
    assert round(PARAMETERS["wide_resnet28_10"] / 1e6, 1) == 36.5


def _norm(channels: int) -> int:
    return 2 * channels


def _resnet(
    depths: tuple[int, ...], bottleneck: bool, channels: tuple[int, ...] = (64, 128, 256, 512), expansion: int = 4
) -> int:
    """From the description: a 3×3 stem, 3×3-3×3 or 1×1-3×3-1×1 blocks, 1×1 projections where the shape changes."""
    width, count = channels[0], 27 * channels[0] + _norm(channels[0])
    for stage, (depth, inner) in enumerate(zip(depths, channels, strict=True)):
        outer = inner * expansion if bottleneck else inner
        for block in range(depth):
            if bottleneck:
                count += width * inner + 9 * inner**2 + inner * outer + 2 * _norm(inner) + _norm(outer)
            else:
                count += 9 * width * inner + 9 * inner**2 + 2 * _norm(inner)
            if block == 0 and (stage > 0 or width != outer):
                count += width * outer + _norm(outer)
            width = outer
    return count + 10 * width + 10


def _densenet(depths: tuple[int, ...], growth: int) -> int:
    """From the description: 1×1 of 4k and 3×3 of k channels a layer, transitions halve the channels."""
    channels, count = 2 * growth, 27 * 2 * growth
    for block, depth in enumerate(depths):
        if block:
            count += _norm(channels) + channels * (channels // 2)
            channels //= 2
        for _ in range(depth):
            count += _norm(channels) + channels * 4 * growth + _norm(4 * growth) + 9 * 4 * growth * growth
            channels += growth
    return count + _norm(channels) + channels * 10 + 10


def _vgg(convolutions: tuple[int, ...]) -> int:
    """From the description: 3×3 convolutions with bias and norm, then 512-512-10."""
    width, count = 3, 2 * (512 * 512 + 512) + 512 * 10 + 10
    for number, channels in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
        for _ in range(number):
            count += 9 * width * channels + channels + _norm(channels)
            width = channels
    return count


def _wide_resnet(blocks: int, width: int) -> int:
    """From the description: norm-3×3-norm-3×3 blocks, three stages, a last norm."""
    channels, count = 16, 27 * 16
    for stage in (16, 32, 64):
        for block in range(blocks):
            inner = stage * width
            count += _norm(channels) + 9 * channels * inner + _norm(inner) + 9 * inner**2
            count += channels * inner if block == 0 else 0
            channels = inner
    return count + _norm(channels) + 10 * channels + 10


_TINY = {"channels": (64, 91, 128, 181), "expansion": 2}
PARAMETERS = {
    "densenet_bc121": _densenet((6, 12, 24, 16), 32),
    "densenet_bc40": _densenet((6, 6, 6), 12),
    "resnet101": _resnet((3, 4, 23, 3), True),
    "resnet101_tiny": _resnet((3, 4, 23, 3), True, **_TINY),  # type: ignore[arg-type]
    "resnet152": _resnet((3, 8, 36, 3), True),
    "resnet152_tiny": _resnet((3, 8, 36, 3), True, **_TINY),  # type: ignore[arg-type]
    "resnet18": _resnet((2, 2, 2, 2), False),
    "resnet18_tiny": _resnet((2, 2, 2, 2), False, **_TINY),  # type: ignore[arg-type]
    "resnet34": _resnet((3, 4, 6, 3), False),
    "resnet34_tiny": _resnet((3, 4, 6, 3), False, **_TINY),  # type: ignore[arg-type]
    "resnet50": _resnet((3, 4, 6, 3), True),
    "resnet50_tiny": _resnet((3, 4, 6, 3), True, **_TINY),  # type: ignore[arg-type]
    "toy": sum((9 * i + 1) * o + _norm(o) for i, o in pairwise((1, 32, 32, 45, 45, 64))) + 650,
    "toy_2x3x3": sum((9 * i + 1) * o + _norm(o) for i, o in pairwise((1, 32, 32, 45, 45, 64))) + 650 + 9 * 45 * 64,
    "vgg11_bn": _vgg((1, 1, 2, 2, 2)),
    "vgg13_bn": _vgg((2, 2, 2, 2, 2)),
    "vgg16_bn": _vgg((2, 2, 3, 3, 3)),
    "vgg19_bn": _vgg((2, 2, 4, 4, 4)),
    "wide_resnet28_10": _wide_resnet(4, 10),
    "wide_resnet28_10_2x3x3": _wide_resnet(4, 10) + 9 * (320**2 + 640**2),
}
"""Parameters for 10 classes, counted by hand; of the toy networks for MNIST, of all others for CIFAR-10."""


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"timm", "torchvision"}))
def test_configured_models_have_their_parameters(name: str, compose: Compose) -> None:
    data = "mnist" if name.startswith("toy") else "cifar10"
    with torch.device("meta"):
        assert ccnn.parameters(build(compose(f"model={name}", f"data={data}"), "model")) == PARAMETERS[name]


def test_parameters_are_those_of_torchvision_but_for_stem_and_head() -> None:
    with torch.device("meta"):
        dense = ccnn.parameters(torchvision.models.densenet121(num_classes=10))
        vggs = {d: ccnn.parameters(getattr(torchvision.models, f"vgg{d}_bn")().features) for d in (11, 13, 16, 19)}
        resnets = {
            depth: ccnn.parameters(getattr(torchvision.models, f"resnet{depth}")(num_classes=10))
            for depth in (18, 34, 50, 101, 152)
        }
    wide_stem, small_stem = 7 * 7 * 3 * 64, 3 * 3 * 3 * 64
    assert PARAMETERS["densenet_bc121"] == dense - (wide_stem + _norm(64)) + small_stem
    assert all(PARAMETERS[f"resnet{d}"] == count - wide_stem + small_stem for d, count in resnets.items())
    assert all(PARAMETERS[f"vgg{d}_bn"] == count + 530_442 for d, count in vggs.items())


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_resnets_have_as_many_layers_as_they_say(depth: int) -> None:
    model = resnet(depth, channels=(8, 8, 8, 8))
    weighted = [
        m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(weighted) == depth


@pytest.mark.parametrize(("depths", "growth", "layers"), [((6, 6, 6), 12, 40), ((6, 12, 24, 16), 32, 121)])
def test_densenets_have_as_many_layers_as_they_say(depths: tuple[int, ...], growth: int, layers: int) -> None:
    with torch.device("meta"):
        model = DenseNet(depths, growth)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == layers


def test_the_wide_resnet_has_as_many_convolutions_as_it_says() -> None:
    with torch.device("meta"):
        assert sum(isinstance(m, nn.Conv2d) for m in WideResNet().modules()) == 28


def test_2x3x3_convolutions_of_the_wide_resnet_keep_the_number_of_submaps() -> None:
    model = ccnn.convert(WideResNet(10, 1, submap_depth=2), (3, 16, 16))
    assert ccnn.conversion_report(model).submaps == 4
    assert [getattr(stage[-1].branch[-1], "depth", 1) for stage in model.stages] == [1, 2, 2]  # type: ignore[index]


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vggs_have_as_many_layers_as_they_say(depth: int) -> None:
    with torch.device("meta"):
        model = VGG(depth)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth


def test_unknown_depths_are_errors() -> None:
    with pytest.raises(ValueError, match="compression: expected more than 0 and at most 1, got 2"):
        DenseNet((2, 2), 4, compression=2)
    with pytest.raises(ValueError, match=r"depth: expected 10, 16, 22, 28 or another 6·n \+ 4, got 27"):
        WideResNet(27)
    with pytest.raises(ValueError, match="width, submap_depth: expected at least 1, got 0 and 1"):
        WideResNet(28, 0)
    with pytest.raises(ValueError, match="depth: expected one of 18, 34, 50, 101, 152, got 19"):
        resnet(19)
    with pytest.raises(ValueError, match="widths of 4 stages"):
        resnet(18, channels=(1, 2))
    with pytest.raises(ValueError, match="depth: expected one of 11, 13, 16, 19, got 12"):
        VGG(12)


def composed(name: str, data: str, compose: Compose) -> tuple[nn.Module, tuple[int, int, int], int]:
    config = compose(f"model={name}", f"data={data}", *NAMED.get(name, ()))
    size = (config.data.channels, config.data.image_size, config.data.image_size)
    return build(config, "model").eval(), size, config.data.num_classes


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_every_data_set(name: str, data: str, compose: Compose) -> None:
    with torch.device("meta"):  # shapes alone: numbers take minutes for all pairs
        model, size, classes = composed(name, data, compose)
        assert model(torch.empty(2, *size)).shape == (2, classes)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_converts_on_the_smallest_images(name: str, compose: Compose) -> None:
    with torch.device("meta"):
        model, size, classes = composed(name, "digits", compose)
        assert ccnn.convert(model, size, "lattice")(torch.empty(2, *size)).shape == (2, classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_finite_numbers_on_the_smallest_images(name: str, compose: Compose) -> None:
    model, size, classes = composed(name, "digits", compose)
    out = ccnn.convert(model, size)(torch.randn(2, *size))
    assert out.shape == (2, classes)
    assert out.isfinite().all()
