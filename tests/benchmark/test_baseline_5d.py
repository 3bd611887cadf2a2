"""The published scheme in 5-D computes what the naive CCNN computes, with more multiply-adds."""

import copy
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from torch import nn

import ccnn
from ccnn.benchmark.baseline_5d import to_5d
from ccnn.benchmark.networks import build
from ccnn.benchmark.workload import Task, simulate
from ccnn.models import VGG, DenseNet, Toy, resnet


def narrow_vgg() -> nn.Module:
    layers = torchvision.models.vgg.make_layers([6, "M", 8, "M", 10, "M"], batch_norm=True)
    model = torchvision.models.VGG(layers, init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(10 * 7 * 7, 16), nn.ReLU(), nn.Linear(16, 7))
    return model


FAMILIES: dict[str, Any] = {
    "resnet18": (lambda: resnet(18, channels=(8, 12, 16, 20)), 32),
    "resnet50": (lambda: resnet(50, channels=(8, 12, 16, 20), expansion=2), 32),
    "toy": (lambda: Toy(3, 7, dropout=0.0), 28),
    "densenet_bc": (lambda: DenseNet((2, 2, 2), 4), 32),
    "vgg, torchvision": (narrow_vgg, 56),
    "resnet, torchvision": (
        lambda: torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1] * 4, 7, width_per_group=4),
        64,
    ),
    "squeezenet": (lambda: torchvision.models.SqueezeNet("1_1", 7, dropout=0.0), 64),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=7), 64),
    "odd sizes": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(4, 5, 1, 2),
            nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        ),
        101,
    ),
}  # fmt: skip
SLOW = ("resnet, torchvision",)


@pytest.mark.parametrize(("training", "literal"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FAMILIES]
)
def test_agrees_with_the_naive_ccnn(family: str, training: bool, literal: bool) -> None:
    torch.manual_seed(0)
    build, side = FAMILIES[family]
    plain = randomised(build().double()).train(training)
    published, ours = to_5d(plain, literal), ccnn.convert(copy.deepcopy(plain), (3, side, side))
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    for model in (published, ours):
        assert model.training is training
        model(x).square().sum().backward()
    torch.testing.assert_close(published(x), ours(x), **close)
    theirs = dict(published.named_parameters(prefix=""))
    for name, parameter in ours.named_parameters():
        grad = theirs[f"body.{name}"].grad
        assert parameter.grad is not None
        assert grad is not None
        torch.testing.assert_close(grad.view_as(parameter.grad), parameter.grad, **close, msg=name)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(published.state_dict()[f"body.{name}"].view_as(value), value, **close)


def test_does_the_arithmetic_of_four_shifts() -> None:
    """Of ResNet-18 on 32×32 the converted network has ×3.66 the multiply-adds, the published code ×4.19."""
    plain, size = resnet(18), (3, 32, 32)
    cost = ccnn.multiply_adds(plain, size)
    assert ccnn.multiply_adds(to_5d(plain), size) / cost == pytest.approx(4.19, abs=0.005)
    assert ccnn.multiply_adds(ccnn.convert(plain, size), size) / cost == pytest.approx(3.66, abs=0.005)


def test_the_literal_form_sends_all_four_shifts_through_backward() -> None:
    plain, task = resnet(18), Task(1, (3, 32, 32), training=True)
    simply, literal = (simulate(to_5d(plain, choice), task) for choice in (False, True))
    ours = simulate(ccnn.convert(plain, (3, 32, 32)), task)
    assert ours.multiply_adds < simply.multiply_adds < literal.multiply_adds
    # Forward and twice in backward: what forward does too much, backward does twice.
    extra = simply.multiply_adds - ours.multiply_adds
    assert literal.multiply_adds - ours.multiply_adds == 3 * extra


@pytest.mark.parametrize("network", ["resnet18", "densenet_bc40"])
def test_the_literal_form_takes_more_memory(network: str) -> None:
    simply, literal = (
        [
            simulate(to_5d(build(network), choice), Task(64, (3, 32, 32), training)).peak_bytes
            for training in (False, True)
        ]
        for choice in (False, True)
    )
    assert literal[0] > simply[0]
    if network == "densenet_bc40":
        # It strides in average poolings alone, which keep nothing for backward: only indices and no map are added.
        assert simply[1] < literal[1] < simply[1] + 1000
    else:
        assert literal[1] > 1.2 * simply[1]


def test_the_plain_network_is_left_alone() -> None:
    plain = VGG(11)
    described, state = repr(plain), copy.deepcopy(plain.state_dict())
    to_5d(plain)
    assert repr(plain) == described
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, 3),
        nn.Conv2d(3, 4, 3, 2, padding_mode="reflect"),
        nn.LPPool2d(2, 2),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.InstanceNorm2d(3),
    ],
)
def test_other_layers_are_named(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"^to_5d: the published scheme has no form for '1'"):
        to_5d(nn.Sequential(nn.ReLU(), layer))
