"""Gradient checkpointing changes what is kept, and nothing else."""

import copy
from collections.abc import Callable

import pytest
import torch
import torchvision
from experiments import randomised
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn
from ccnn.models import DenseNet, ResNet, Toy, WideResNet, checkpoint_stages

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: ResNet([1, 1, 1, 1], bottleneck=True, channels=(4, 6, 8, 8)),
    "densenet": lambda: DenseNet((2, 2), 4),
    "wide_resnet": lambda: WideResNet(10, 1, dropout=0.3, submap_depth=2),
    "toy": lambda: Toy(in_channels=3),
    "torchvision": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1]),
}


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


@pytest.mark.parametrize("sampling", [None, "lattice", "random"])
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_gradients_and_statistics_stay_and_less_is_kept(name: str, sampling: str | None) -> None:
    torch.manual_seed(0)
    plain = randomised(NETWORKS[name]()).double()
    if sampling:
        ccnn.convert(plain, (3, 32, 32), sampling)
    thrifty = copy.deepcopy(plain)
    stages = checkpoint_stages(thrifty)
    assert len(stages) >= 2
    assert list(thrifty.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    (loss, all_kept), (thrifty_loss, kept) = step(plain, x), step(thrifty, x)
    assert torch.equal(loss, thrifty_loss)
    for (key, parameter), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-12, msg=key)
    for (key, buffer), other_buffer in zip(plain.named_buffers(), thrifty.buffers(), strict=True):
        assert torch.equal(buffer, other_buffer), key
    assert kept < all_kept
    assert torch.equal(plain.eval()(x), thrifty.eval()(x))


def test_a_checkpointed_network_can_be_copied() -> None:
    model = NETWORKS["resnet"]()
    checkpoint_stages(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert step(other, torch.randn(2, 3, 32, 32))[0] != step(model, torch.randn(2, 3, 32, 32))[0]


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="MobileNetV2 has no stages to checkpoint"):
        checkpoint_stages(torchvision.models.mobilenet_v2())
