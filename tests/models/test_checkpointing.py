"""Gradient checkpointing changes what is kept, and nothing else."""

import copy
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torchvision
from experiments import Compose, randomised
from small_networks import FORMS, smaller
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn
from ccnn.models import checkpoint_stages
from ccnn.training.build import build

SIZE = (1, 16, 16)
WIDE = ("timm", "torchvision", "vgg11_bn")  # no key makes them narrow
FAMILIES = ("densenet_bc40", "resnet18", "toy", "wide_resnet28_10_2x3x3")


@pytest.fixture
def network(compose: Compose) -> Callable[[str], nn.Module]:
    """Builds a choice of conf/model/, small, for images of the digits' size."""

    def build_small(name: str) -> nn.Module:
        if name == "timm":
            pytest.importorskip("timm")
        model: nn.Module = build(compose(f"model={name}", *smaller(name)), "model")
        return model

    return build_small


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Loss, with gradients in the parameters, and how much was kept for backward, in numbers."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = F.cross_entropy(model(x), torch.arange(len(x)))
    loss.backward()
    return loss.detach(), sum(kept.values())


def assert_same(plain: nn.Module, thrifty: nn.Module) -> None:
    for (key, parameter), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-12, msg=key)
    for (key, buffer), other_buffer in zip(plain.named_buffers(), thrifty.buffers(), strict=True):
        torch.testing.assert_close(buffer, other_buffer, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize(
    ("name", "sampling"),
    [
        *(pytest.param(name, "random", marks=[pytest.mark.slow] * (name in WIDE)) for name in FORMS),
        *product(FAMILIES, (None, "lattice")),
    ],
)
def test_loss_gradients_and_statistics_stay_and_less_is_kept(
    name: str, sampling: str | None, network: Callable[[str], nn.Module]
) -> None:
    torch.manual_seed(0)
    plain = randomised(network(name)).double()
    if sampling:
        ccnn.convert(plain, SIZE, sampling)
    thrifty = copy.deepcopy(plain)
    stages = checkpoint_stages(thrifty)
    assert len(stages) >= 2
    assert list(thrifty.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, *SIZE, dtype=torch.float64)
    (loss, all_kept), (thrifty_loss, kept) = step(plain, x), step(thrifty, x)
    assert torch.equal(loss, thrifty_loss)
    assert_same(plain, thrifty)
    assert kept < all_kept
    assert torch.equal(plain.eval()(x), thrifty.eval()(x))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [None, "lattice", "random"])
@pytest.mark.parametrize("name", ["toy", "resnet18_tiny"])
def test_a_compiled_network_can_be_checkpointed(
    name: str, sampling: str | None, network: Callable[[str], nn.Module]
) -> None:
    torch.manual_seed(0)
    plain = randomised(network(name)).double()
    for module in plain.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0  # compiled code draws other numbers
    if sampling:
        ccnn.convert(plain, SIZE, sampling)
    compiled, thrifty = copy.deepcopy(plain), copy.deepcopy(plain)
    checkpoint_stages(thrifty)
    torch.compiler.reset()
    compiled.compile(backend="aot_eager")
    thrifty.compile(backend="aot_eager")
    for _ in range(2):
        x = torch.randn(4, *SIZE, dtype=torch.float64)
        loss, _ = step(plain, x)
        _, all_kept = step(compiled, x)
        thrifty_loss, kept = step(thrifty, x)
        torch.testing.assert_close(loss, thrifty_loss, rtol=1e-12, atol=0)
        assert_same(plain, thrifty)
        assert kept < all_kept


def test_a_checkpointed_network_can_be_copied(network: Callable[[str], nn.Module]) -> None:
    model = network("resnet18_tiny")
    checkpoint_stages(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert step(other, torch.randn(2, *SIZE))[0] != step(model, torch.randn(2, *SIZE))[0]


def test_a_network_without_stages_is_an_error() -> None:
    with pytest.raises(ValueError, match="MobileNetV2 has no stages to checkpoint"):
        checkpoint_stages(torchvision.models.mobilenet_v2())
