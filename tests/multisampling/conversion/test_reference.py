"""The oracle itself is tested: against PyTorch at (0, 0), against scalar loops elsewhere."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from reference import (
    COMPLEMENTARY,
    COMPLETE,
    LATTICE,
    STANDARD,
    THREE_QUARTERS,
    TRADITIONAL,
    Levels,
    Reference5d,
    evaluate_at,
    fold,
    min_toroidal_distance,
    multisample_reference,
    naive,
    offsets_reference,
    output_order,
    traditional,
)
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import VGG, DenseNet, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import make_layers

Strided = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.LPPool2d
KINDS = ["conv", "max", "avg", "lp"]


Mode = Literal["zeros", "reflect", "replicate", "circular"]
MODES: list[Mode] = ["zeros", "reflect", "replicate", "circular"]


def random_case(kind: str, seed: int) -> tuple[Strided, Tensor]:
    """Draw a random strided layer and an input that it accepts."""
    rng = random.Random(f"{kind}{seed}")
    torch.manual_seed(seed)

    def two(low: int, high: int) -> tuple[int, int]:
        return rng.randint(low, high), rng.randint(low, high)

    kernel, stride, dilation = two(1, 4), two(2, 3), two(1, 2)
    half = (rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2))
    x = torch.randn(2, 4, *two(8, 12), dtype=torch.float64)
    ceil = rng.random() < 0.5
    if kind == "conv":
        return nn.Conv2d(
            4,
            6,
            kernel,
            stride,
            two(0, 3),
            dilation,
            rng.choice([1, 2]),
            rng.random() < 0.5,
            rng.choice(MODES),
            dtype=torch.float64,
        ), x
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, half, dilation, ceil_mode=ceil), x
    if kind == "avg":
        override = rng.choice([None, None, 3])
        return nn.AvgPool2d(kernel, stride, half, ceil, rng.random() < 0.5, override), x
    return nn.LPPool2d(rng.choice([1, 2, 3]), kernel, stride, ceil), x.abs()


@pytest.mark.parametrize("kind", KINDS)
def test_layer_at_the_first_position_is_the_layer(kind: str) -> None:
    for seed in range(300):
        layer, x = random_case(kind, seed)
        x.requires_grad_()
        actual, expected = evaluate_at(layer, x, 0, 0), layer(x)
        # PyTorch's max pooling gives -inf where dilation steps over the whole input; the oracle gives 0
        expected = torch.where(expected == -math.inf, torch.zeros_like(expected), expected)
        assert_close(actual, expected, msg=lambda text: f"{layer}: {text}")  # noqa: B023
        weight = torch.randn_like(actual)
        assert_close(*(torch.autograd.grad((out * weight).sum(), x)[0] for out in (actual, expected)))


def test_max_pooling_breaks_ties_as_pytorch_does() -> None:
    x = torch.randint(0, 3, (2, 2, 9, 9)).double().requires_grad_()
    layer = nn.MaxPool2d(3, 2, 1)
    actual, expected = (torch.autograd.grad(y.sum(), x)[0] for y in (evaluate_at(layer, x, 0, 0), layer(x)))
    assert torch.equal(actual, expected)


def scalar_layer(layer: Strided, x: Tensor, dy: int, dx: int, size: torch.Size) -> Tensor:
    """Compute every output value by itself; convolutions with zero padding only."""
    height, width = x.shape[-2:]
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride  # type: ignore[misc]
    (ph, pw), (dh, dw) = getattr(layer, "padding", (0, 0)), getattr(layer, "dilation", (1, 1))
    out = torch.zeros(size, dtype=x.dtype)
    for n, c, i, j in ((n, c, i, j) for n in range(size[0]) for c in range(size[1]) for i, j in grid(size)):
        inside: list[tuple[int, int, int, int]] = []  # of the input: y, x and the place in the kernel
        clipped = 0  # of the input or its padding
        for a, b in ((a, b) for a in range(kh) for b in range(kw)):
            y, z = dy + i * sh + a * dh - ph, dx + j * sw + b * dw - pw
            clipped += y < height + ph and z < width + pw
            if 0 <= y < height and 0 <= z < width:
                inside.append((y, z, a, b))
        if isinstance(layer, nn.Conv2d):
            per_group = layer.in_channels // layer.groups
            first = c // (layer.out_channels // layer.groups) * per_group
            out[n, c, i, j] = sum(
                layer.weight[c, q, a, b].item() * x[n, first + q, y, z].item()
                for y, z, a, b in inside
                for q in range(per_group)
            ) + (0.0 if layer.bias is None else layer.bias[c].item())
            continue
        values = [x[n, c, y, z].item() for y, z, _, _ in inside]
        if not values:
            continue
        if isinstance(layer, nn.MaxPool2d):
            out[n, c, i, j] = max(values)
        elif isinstance(layer, nn.AvgPool2d):
            divisor = clipped if layer.ceil_mode else kh * kw
            divisor = divisor if layer.count_include_pad else len(values)
            out[n, c, i, j] = sum(values) / (layer.divisor_override or divisor)
        else:
            p = layer.norm_type
            scale = kh * kw / clipped if layer.ceil_mode else 1.0
            out[n, c, i, j] = (scale * sum(value**p for value in values)) ** (1 / p)
    return out


def grid(size: torch.Size) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(size[-2]) for j in range(size[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_layer_at_every_position_is_a_sum_over_scalars(kind: str) -> None:
    for seed in range(12):
        layer, x = random_case(kind, 1000 + seed)
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "zeros"
        x = x[:1]
        for dy, dx in ((dy, dx) for dy in range(layer.stride[0]) for dx in range(layer.stride[1])):  # type: ignore[index]
            actual = evaluate_at(layer, x, dy, dx)
            assert actual.shape == layer(x).shape
            assert_close(actual.detach(), scalar_layer(layer, x, dy, dx, actual.shape))


@pytest.mark.parametrize("mode", MODES[1:])
def test_padding_modes_pad_first_and_move_then(mode: Mode) -> None:
    layer = nn.Conv2d(2, 3, (3, 5), 2, (1, 2), padding_mode=mode, dtype=torch.float64)
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64)
    padded = F.pad(x, (2, 2, 1, 1), mode)
    moved = F.pad(padded, (0, 1, 0, 1))[:, :, 1:, 1:]
    assert_close(evaluate_at(layer, x, 1, 1), F.conv2d(moved, layer.weight, layer.bias, 2))


def test_a_window_without_elements_gives_zero_and_no_nan_gradient() -> None:
    layers = (
        nn.MaxPool2d(1, 2),
        nn.AvgPool2d(1, 2),
        nn.LPPool2d(2, 1, 2),
        nn.AvgPool2d(1, 2, ceil_mode=True),
    )
    for layer in layers:
        x = torch.rand(1, 1, 3, 3, dtype=torch.float64).add(1).requires_grad_()
        y = evaluate_at(layer, x, 1, 1)
        assert_close(y, torch.tensor([[[[x[0, 0, 1, 1].item(), 0], [0, 0]]]], dtype=torch.float64))
        y.sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


def test_order_of_the_output_submaps() -> None:
    assert output_order([0, 1]) == [(0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0)]
    assert output_order([COMPLETE]) == [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]
    x = torch.randn(2 * 3, 4, 6, 6, dtype=torch.float64)  # two submaps of three images
    pick = nn.MaxPool2d(1, 2)  # keeps one element of a window
    actual = multisample_reference(pick, x, 2, [STANDARD, COMPLEMENTARY])
    one, two = x[:3], x[3:]
    expected = [one[..., ::2, ::2], two[..., ::2, 1::2], one[..., 1::2, 1::2], two[..., 1::2, ::2]]
    assert torch.equal(actual, torch.cat(expected))
    assert multisample_reference(pick, x, 2, [THREE_QUARTERS] * 2).shape[0] == 18


def sequential() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        nn.Dropout2d(0.0),
        nn.AvgPool2d(3, 1, 1),
        nn.Conv2d(6, 8, (1, 3), (2, 2), (0, 1), groups=2, padding_mode="circular"),
        nn.AvgPool2d(2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def vgg(batch_norm: bool) -> nn.Module:
    with torch.device("meta"):  # its own classifier of 100 million weights is replaced at once
        model = VGG(nn.Sequential(), init_weights=False)
    model.features = make_layers([8, "M", 12, "M", 16, 16, "M", 12, "M", 8, "M"], batch_norm)
    model.classifier = nn.Sequential(nn.Linear(8 * 49, 16), nn.ReLU(True), nn.Dropout(0.0), nn.Linear(16, 5))
    return model


def densenet() -> nn.Module:
    return DenseNet(growth_rate=4, block_config=(2, 2, 2), num_init_features=8, bn_size=2, num_classes=5)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # builder, subsampling levels, image size
    "sequential": (sequential, 4, 40),
    "basic": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5), 5, 50),
    "bottleneck": (lambda: ResNet(Bottleneck, [1, 2, 1, 1], num_classes=5, width_per_group=16), 5, 64),
    "vgg": (lambda: vgg(batch_norm=False), 5, 37),
    "vgg_bn": (lambda: vgg(batch_norm=True), 5, 64),
    "densenet": (densenet, 4, 45),
}


def build(name: str) -> tuple[nn.Module, int, Tensor]:
    torch.manual_seed(0)
    builder, levels, size = NETWORKS[name]
    model = builder().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model, levels, torch.randn(3, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_traditional_sampling_is_the_ordinary_network(name: str) -> None:
    model, levels, x = build(name)
    reference = Reference5d(model, traditional(levels))
    assert reference.depth == levels
    for training in (True, False):
        model.train(training)
        reference.train(training)
        model.zero_grad()
        reference.zero_grad()
        outputs = [network(x) for network in (model, reference)]
        assert_close(outputs[1], outputs[0])
        for output in outputs:
            output.square().sum().backward()
        gradients = {key: value.grad for key, value in model.named_parameters()}
        assert_close(reference.grads_2d(), gradients)
        assert_close(reference.state_2d(), dict(model.state_dict()))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sequence", ["naive", "lattice"])
def test_first_submap_is_the_ordinary_feature_map(name: str, sequence: str) -> None:
    model, levels, x = build(name)
    model.eval()
    samplers = naive(levels) if sequence == "naive" else LATTICE[:levels]
    with torch.no_grad():
        plain = Reference5d(model, traditional(levels)).features(x)
        reference = Reference5d(model, samplers)
        features = reference.features(x)
        assert features.shape[2] == (1 if name == "sequential" else 2**levels)  # it pools jointly at its end
        if name != "sequential":
            assert_close(features[:, :, :1], plain)
            assert_close(fold(features)[:3], plain[:, :, 0])
            assert features.std(2).max() > 1e-3
        assert reference(x).shape == (3, 5)


def test_the_classifier_sees_the_mean_of_the_submaps() -> None:
    for name in ("basic", "densenet", "vgg"):
        model, levels, x = build(name)
        reference = Reference5d(model.eval(), LATTICE[:levels])
        mean = torch.stack(reference.features(x).unbind(2)).mean(0)
        if isinstance(model, VGG):
            expected = model.classifier(model.avgpool(mean).flatten(1))
        else:
            head = model.get_submodule("fc" if name == "basic" else "classifier")
            expected = head(mean.mean((2, 3)))
        assert_close(reference(x), expected)


@pytest.mark.parametrize("name", ["basic", "bottleneck", "densenet", "vgg_bn"])
def test_training_reaches_every_weight(name: str) -> None:
    model, levels, x = build(name)
    before = copy.deepcopy(model.state_dict())
    reference = Reference5d(model, LATTICE[:levels]).train()
    reference(x).square().sum().backward()
    gradients = reference.grads_2d()
    assert {key: value.shape for key, value in gradients.items()} == {
        key: value.shape for key, value in model.named_parameters()
    }
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    for key, value in reference.state_2d().items():
        assert torch.equal(value, before[key]) != key.endswith(("running_mean", "running_var", "tracked"))
    assert_close(model.state_dict(), before)  # the original is left alone


@pytest.mark.parametrize(
    "levels", [naive(3), LATTICE[:3], [[COMPLETE] * 4**k for k in range(3)], [[TRADITIONAL], [0], [1, 0]]]
)
def test_each_submap_is_a_grid_of_the_dilated_network(levels: Levels) -> None:
    """Without padding, a submap is the network at stride 1 with dilation, read at the submap's offset."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"bias": True, "dtype": torch.float64}
    layers = [nn.Conv2d(2, 3, 3, 2, **settings), nn.Conv2d(3, 3, 3, 1, **settings), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(3, 4, (1, 3), 1, **settings), nn.Conv2d(4, 4, 3, 2, **settings)]
    x = torch.randn(2, 2, 63, 65, dtype=torch.float64)

    dense, dilation = x, 1
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            dense = F.conv2d(dense, layer.weight, layer.bias, dilation=dilation)
            dilation *= layer.stride[0]
        else:
            dense = F.max_pool2d(dense, 2, 1, dilation=dilation)
            dilation *= 2

    submaps = Reference5d(nn.Sequential(*layers), levels).features(x).unbind(2)
    offsets = offsets_reference(levels)
    assert len(submaps) == len(offsets) == len(set(offsets))
    for submap, (dy, dx) in zip(submaps, offsets, strict=True):
        expected = dense[:, :, dy::8, dx::8]
        assert min(expected.shape[-2:]) >= 4
        assert_close(submap[:, :, : expected.shape[2], : expected.shape[3]], expected)


def test_distances_are_the_papers() -> None:
    def distances(levels: Levels) -> list[float]:
        steps = range(1, len(levels) + 1)
        return [round(min_toroidal_distance(offsets_reference(levels[:s]), 2**s), 2) for s in steps]

    assert distances(naive(5)) == [1.41, 1.41, 1.41, 1.41, 1.41]
    assert distances(LATTICE) == [1.41, 1.41, 2.83, 3.16, 5.10]
    assert offsets_reference([[0], [0, 1]]) == [(0, 0), (1, 3), (2, 2), (3, 1)]
