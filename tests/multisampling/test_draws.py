"""Which draws a layer uses: one set for each call of the network, also where parts of it run again."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ccnn import convert
from ccnn.multisampling.draws import Draws

SIZE = (3, 16, 16)
DRAWING = ["random", "stochastic"]


class Features(nn.Module):
    """Three strided stages, each of which can run under gradient checkpointing, and a head."""

    reentrant: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 8, 3, 2, 1), nn.Tanh(), nn.Dropout(0.2)) for width in (3, 8, 8)
        )
        self.fc = nn.Linear(8, 5)

    def forward_features(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x) if self.reentrant is None else checkpoint(stage, x, use_reentrant=self.reentrant)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.forward_features(x).mean((2, 3)))


def model_of(name: str) -> Features:
    torch.manual_seed(0)
    return convert(Features().double(), SIZE, name)


def draws_of(model: nn.Module) -> Draws:
    (draws,) = [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, Draws)]
    return draws


def images(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *SIZE, dtype=torch.float64, generator=generator, requires_grad=True)


def one_pass(model: Features) -> Tensor:
    return model(images(1)).square().sum()


def two_passes(model: Features) -> Tensor:
    return one_pass(model) + model(images(2)).square().sum()


def evaluated_between(model: Features) -> Tensor:
    """As a validation between forward and backward: it draws nothing, and must not spoil the draws."""
    loss = two_passes(model)
    model.eval()(images(3))
    model.train()
    return loss


def frozen_stage(model: Features) -> Tensor:
    """A stage in evaluation within a network in training meets drawn submaps all the same."""
    model.stages[1].eval()
    return two_passes(model)


@pytest.mark.parametrize("loss", [one_pass, two_passes, evaluated_between, frozen_stage])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", DRAWING)
def test_checkpointing_finds_the_draws_of_its_own_pass(
    name: str, reentrant: bool, loss: Callable[[Features], Tensor]
) -> None:
    gradients: list[list[Tensor]] = []
    for way in (None, reentrant):
        model = model_of(name).train()
        model.reentrant = way
        torch.manual_seed(4)
        loss(model).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == 8
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_called_by_itself_uses_the_latest_draws(name: str) -> None:
    model = model_of(name)
    for part in model.modules():
        part.training = not isinstance(part, nn.Dropout)
    seen: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    model(images(1))
    hook.remove()
    drawn = draws_of(model).current
    maps = model.forward_features(images(1))
    assert draws_of(model).current is drawn
    submaps = len(maps) // 2
    assert submaps == (8 if name == "random" else 1)
    torch.testing.assert_close(maps.mean((2, 3)).unflatten(0, (submaps, 2)).mean(0).detach(), seen[0])


def test_a_part_called_before_the_network_draws() -> None:
    model = copy.deepcopy(model_of("stochastic")).train()
    assert model.forward_features(images(1)).shape[0] == 2
    assert draws_of(model).current is not None


@pytest.mark.parametrize("name", DRAWING)
def test_in_evaluation_a_part_called_by_itself_draws_nothing(name: str) -> None:
    model = model_of(name)
    expected = convert(Features().double(), SIZE, "lattice").eval()
    expected.load_state_dict(model.state_dict())
    one_pass(model.train()).backward()
    model.eval()
    torch.testing.assert_close(model.forward_features(images(1)), expected.forward_features(images(1)))
