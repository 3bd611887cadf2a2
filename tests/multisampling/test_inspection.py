"""ccnn.summary() against the costs of the networks themselves, counted apart."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ccnn
from ccnn.models import Toy
from ccnn.multisampling.submaps import merge

IMAGE = (3, 64, 64)


NETWORKS = {
    "residual": torchvision.models.resnet18,
    "concatenating": lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16),
    "squeeze and excitation, depthwise": torchvision.models.mobilenet_v3_small,
    "linear head on maps": torchvision.models.vgg11,
    "no classifier": torchvision.models.squeezenet1_1,
    "channels last inside": torchvision.models.convnext_tiny,
}


def build(name: str) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[name]()


@pytest.mark.parametrize(
    ("name", "sampling"),
    [(name, "lattice") for name in NETWORKS]
    + [("residual", name) for name in ("three_quarters", "complete", "random", "traditional")],
)
def test_totals_and_factor_are_those_of_the_networks(name: str, sampling: str) -> None:
    model = build(name)
    plain = ccnn.multiply_adds(model, IMAGE)
    ccnn.convert(model, IMAGE, sampling)
    for by in ("level", "layer"):
        found = ccnn.summary(model, IMAGE, by=by)
        assert found.total.multiply_adds == ccnn.multiply_adds(model, IMAGE)
        assert found.total.plain_multiply_adds == plain
        assert found.total.parameters == ccnn.parameters(model) == sum(row.parameters for row in found.rows)
        assert found.total.multiply_adds == sum(row.multiply_adds for row in found.rows)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plain_network_has_factor_one_and_one_submap(name: str) -> None:
    found = ccnn.summary(build(name), IMAGE, by="layer")
    assert {row.submaps for row in found.rows} == {1}
    assert {row.factor for row in found.rows if row.multiply_adds} == {1.0}
    assert found.total.factor == 1


def test_levels_of_resnet50_are_those_of_the_conversion_report() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet50()
    ccnn.convert(model, (3, 224, 224), "lattice")
    *levels, head = ccnn.summary(model, (3, 224, 224)).rows
    assert [row.submaps for row in levels] == [2, 4, 8, 16, 32]
    assert [row.size[1:] for row in levels] == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]
    assert [row.name for row in levels] == ["conv1", "maxpool", *(f"layer{i}.0.conv2" for i in (2, 3, 4))]
    # Each layer after k steps of two runs on 2**k submaps: that is all the cost there is.
    assert [row.factor for row in levels] == [2, 4, 8, 16, 32]
    assert (head.size, head.submaps, head.factor) == ((1000,), 1, 1)


def test_the_readme_shows_the_summary_of_resnet50() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet50()
    ccnn.convert(model, (3, 224, 224), "lattice")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"```text\n{ccnn.summary(model, (3, 224, 224))}\n```" in readme


def test_layers_have_their_own_shape_submaps_and_cost() -> None:
    model = ccnn.convert(Toy(depth=2), (1, 16, 16), "naive")
    found = ccnn.summary(model, (1, 16, 16), by="layer")
    rows = {row.name.rpartition(".")[2]: row for row in found.rows}
    assert [name for name in rows if name.startswith("conv")] == [f"conv{i}" for i in range(1, 6)]
    expected = {
        "conv2": ("Conv2d", (32, 16, 16), 1, 32 * 32 * 9 * 256, 1),
        "conv3": ("CheckeredConv2d", (45, 8, 8), 2, 2 * 32 * 45 * 9 * 64, 2),
        "conv4": ("Conv2d", (45, 8, 8), 2, 2 * 45 * 45 * 9 * 64, 2),
        "conv5": ("CheckeredConv2d", (64, 8, 8), 1, 2 * 45 * 64 * 9 * 64, 1),
        "classifier": ("Linear", (10,), 1, 640, 1),
    }
    for name, values in expected.items():
        row = rows[name]
        assert (row.kind, row.size, row.submaps, row.multiply_adds, row.factor) == values
    assert not any(name.startswith("relu") for name in rows)


def test_shared_layers_and_layers_that_are_not_called_count_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.spare = nn.Conv2d(3, 3, 3, 2, 1), nn.Linear(7, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.down(x)).mean((2, 3))

    model = ccnn.convert(Shared(), (3, 16, 16), "naive")
    first, second, spare = ccnn.summary(model, (3, 16, 16), by="layer").rows
    assert (first.name, second.name) == ("down", "down")
    assert (first.submaps, second.submaps) == (2, 4)
    assert (first.parameters, second.parameters, spare.parameters) == (84, 0, 40)


def test_a_network_that_merges_by_hand_has_no_factor() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = ccnn.CheckeredConv2d(3, 4, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return merge(self.down(x), 2)

    found = ccnn.summary(ByHand(), (3, 8, 8))
    assert found.total.factor is None
    assert found.rows[0].submaps == 2
    assert found.total.multiply_adds == 2 * 3 * 4 * 9 * 16


def test_the_text_shows_the_numbers() -> None:
    model = ccnn.convert(Toy(), (1, 16, 16), "lattice")
    found = ccnn.summary(model, (1, 16, 16))
    lines = str(found).splitlines()
    assert lines[0] == "Toy, input 1×16×16"
    (conv3,) = [line for line in lines if "conv3" in line]
    with FlopCounterMode(display=False) as counter:  # the layers of that level, on real numbers
        model.eval()(torch.zeros(1, 1, 16, 16))
    flops = counter.get_flop_counts()
    weights = [model.state_dict()[f"stages.1.{kind}{i}.weight"] for kind in ("conv", "norm") for i in (3, 4, 5)]
    parameters = sum(weight.numel() for weight in weights) + 2 * (45 + 45 + 64)  # and the biases
    level = sum(sum(flops[f"Toy.stages.1.conv{i}"].values()) for i in (3, 4, 5)) // 2
    assert [cell.strip() for cell in conv3.strip("│").split("│")] == [
        "stages.1.conv3", "CheckeredConv2d, 2×Conv2d", "64×8×8", "2", f"{parameters:,}", f"{level:,}", "2.00",
    ]  # fmt: skip
    assert "67,913" in lines[-2]


def test_the_network_is_left_alone() -> None:
    model = ccnn.convert(Toy(), (1, 16, 16), "random").train()
    before, state = copy.deepcopy(model), torch.random.get_rng_state()
    ccnn.summary(model, (1, 16, 16))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert str(model) == str(before)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(model.eval()(x), before.eval()(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (1, 16)}, r"expected \(channels, height, width\), without the batch, got \(1, 16\)"),
        ({"input_size": (1, 0, 16)}, "input_size: expected"),
        ({"input_size": (3, 16, 16)}, r"does not run on input_size=\(3, 16, 16\): RuntimeError"),
        ({"input_size": (1, 16, 16), "by": "block"}, "by: expected 'level' or 'layer', got 'block'"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ccnn.summary(Toy(), **arguments)
