"""The sampling methods on whole networks: what is drawn and when, where they apply, and unusual layers."""

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from reference import (
    LATTICE,
    THREE_QUARTERS,
    Reference5d,
    evaluate_at,
    multisample_reference,
    naive,
    output_size,
    pair,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from ccnn.models.resnet import ResNet
from ccnn.multisampling.base import Multisampling
from ccnn.multisampling.conversion import ConversionError, conversion_report, convert
from ccnn.multisampling.conversion.rules import register_rule
from ccnn.multisampling.convolution import CheckeredConv2d
from ccnn.multisampling.draws import Draws
from ccnn.multisampling.samplers import Sampling
from ccnn.multisampling.submaps import offsets

DRAWING = ["random", "stochastic"]
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}


def small_resnet() -> nn.Module:
    return randomised(ResNet([1, 1, 1, 1], bottleneck=False, channels=(8, 10, 12, 12)))


def multisampling_layers(model: nn.Module) -> dict[str, Multisampling]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, Multisampling)}


def draws_of(model: nn.Module) -> Draws:
    (draws,) = {
        id(layer.placement.draws): layer.placement.draws for layer in multisampling_layers(model).values()
    }.values()
    assert isinstance(draws, Draws)
    return draws


# --- random and stochastic -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("seed", [0, 1])
def test_training_is_the_5d_network_with_the_samplers_drawn(name: str, seed: int) -> None:
    """Batch norm, shortcuts and all: were a branch and its shortcut drawn apart, the two would differ."""
    torch.manual_seed(seed)
    block = torchvision.models.resnet.BasicBlock
    plain = torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=5).double()
    converted = convert(copy.deepcopy(plain), (3, 64, 64), name)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    got = converted(x)
    drawn = draws_of(converted).current
    assert drawn is not None
    assert list(drawn) == [(2,) * n for n in range(1, 6)]
    torch.testing.assert_close(got, Reference5d(plain, list(drawn.values()))(x), **CLOSE)


@pytest.mark.parametrize("name", DRAWING)
def test_every_step_of_training_draws_anew_and_the_seed_decides(name: str) -> None:
    model = convert(small_resnet(), (3, 16, 16), name)

    def draws(seed: int) -> list[Any]:
        torch.manual_seed(seed)
        return [(model(torch.zeros(2, 3, 16, 16)), draws_of(model).current)[1] for _ in range(8)]

    first = draws(0)
    assert sum(a != b for a, b in pairwise(first)) >= 5
    assert draws(0) == first
    assert draws(1) != first


class TwoPaths(nn.Module):
    """One step of stride 4 beside two of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.once, self.first, self.second = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 2, 2)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((self.once(x) + self.second(self.first(x))).mean((2, 3)))


@pytest.mark.parametrize("name", DRAWING)
def test_a_stride_of_four_is_drawn_as_two_of_two(name: str) -> None:
    model = convert(TwoPaths(), (3, 16, 16), name)
    for seed in range(20):
        torch.manual_seed(seed)
        model(torch.zeros(2, 3, 16, 16))
        drawn = draws_of(model).current
        assert drawn is not None
        assert offsets([(4, drawn[4,])]) == offsets([(2, drawn[2,]), (2, drawn[2, 2])])


def test_random_keeps_rooks_and_stochastic_one_position() -> None:
    kept: dict[str, set[Any]] = {}
    for name in DRAWING:
        model = convert(small_resnet(), (3, 16, 16), name)
        kept[name] = set()
        for seed in range(30):
            torch.manual_seed(seed)
            model(torch.zeros(2, 3, 16, 16))
            current = draws_of(model).current
            assert current is not None
            kept[name].update(sampler for assignment in current.values() for sampler in assignment)
    assert kept["random"] == {((0, 0), (1, 1)), ((0, 1), (1, 0))}
    assert kept["stochastic"] == {((y, x),) for y in (0, 1) for x in (0, 1)}


@pytest.mark.parametrize("evaluation", ["lattice", "naive", "three_quarters", "complete"])
@pytest.mark.parametrize("name", DRAWING)
def test_evaluation_is_the_evaluation_method(name: str, evaluation: str) -> None:
    plain = small_resnet()
    model = convert(copy.deepcopy(plain), (3, 16, 16), Sampling(name, evaluation=evaluation))
    model(torch.randn(2, 3, 16, 16))  # a step of training leaves nothing behind but statistics
    plain.load_state_dict(model.state_dict())
    expected = convert(plain, (3, 16, 16), evaluation).eval()
    x = torch.randn(2, 3, 17, 16)
    assert torch.equal(model.eval()(x), expected(x))


def test_stochastic_trains_at_the_plain_networks_cost() -> None:
    plain = small_resnet()
    model = convert(copy.deepcopy(plain), (3, 32, 32), "stochastic")
    batches: set[int] = set()
    for module in model.modules():
        module.register_forward_hook(lambda module, args, out: batches.add(out.shape[0]))

    def cost(model: nn.Module) -> int:
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(3, 3, 32, 32)).sum().backward()
        return int(counter.get_total_flops())

    assert cost(model) == cost(plain)
    assert batches == {3}
    assert cost(model.eval()) > 1.5 * cost(plain.eval())
    assert batches == {3, 6, 12, 24}


@pytest.mark.parametrize("name", DRAWING)
def test_state_is_the_plain_networks(name: str) -> None:
    plain = small_resnet()
    model = convert(copy.deepcopy(plain), (3, 16, 16), name)
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("name", DRAWING)
def test_copies_share_draws_among_their_layers_alone(name: str, copied: Callable[[nn.Module], nn.Module]) -> None:
    model = convert(small_resnet(), (3, 16, 16), name)
    model(torch.randn(2, 3, 16, 16))
    other = copied(model)
    before, draws = draws_of(model).current, draws_of(other)
    assert draws is not draws_of(model)
    assert draws in other._forward_pre_hooks.values()
    seen = []
    for seed in range(5):
        torch.manual_seed(seed)
        assert other(torch.randn(2, 3, 16, 16)).shape == (2, 10)
        seen.append(draws.current)
    assert any(current != before for current in seen)
    assert draws_of(model).current is before
    x = torch.randn(2, 3, 16, 16)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(x), model.eval()(x))


class Staged(nn.Module):
    """Stages with dropout, each run under gradient checkpointing if `reentrant` is not None."""

    reentrant: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.Dropout(0.3), nn.Tanh(), nn.Dropout2d(0.3))
            for _ in range(3)
        )
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x) if self.reentrant is None else checkpoint(stage, x, use_reentrant=self.reentrant)
        return self.fc(x.mean((2, 3)))


def gradients(model: Staged, images: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(3)
    model.zero_grad()
    torch.stack([model(x).square().sum() for x in images]).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", [*DRAWING, "lattice"])
def test_gradient_checkpointing_changes_nothing(name: str, reentrant: bool) -> None:
    model = convert(Staged().double(), (3, 16, 16), name)
    images = [torch.randn(2, 3, 16, 16, dtype=torch.float64)]
    expected = gradients(model, images)
    model.reentrant = reentrant
    got = gradients(model, images)
    assert len(got) == len(list(model.parameters()))
    torch.testing.assert_close(got, expected, **CLOSE)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", DRAWING)
def test_two_forward_passes_before_one_backward_keep_their_draws(name: str, reentrant: bool) -> None:
    model = convert(Staged().double(), (3, 16, 16), name)
    images = [torch.randn(2, 3, 16, 16, dtype=torch.float64) for _ in range(2)]
    expected = gradients(model, images)
    model.reentrant = reentrant
    torch.testing.assert_close(gradients(model, images), expected, **CLOSE)


# --- where a method applies ----------------------------------------------------------------------------


def test_skip_first_leaves_the_first_levels_traditional() -> None:
    plain = small_resnet().double().eval()
    model = convert(copy.deepcopy(plain), (3, 32, 32), Sampling("lattice", skip_first=1))
    report = conversion_report(model)
    assert report.traditional == {f"stages.1.0.{path}.0": "skip_first 1" for path in ("branch", "shortcut")}
    assert [layer.submaps for layer in report.layers] == [(1, 2), (1, 2), (2, 4), (2, 4)]
    assert all(
        multisampling_layers(model)[f"stages.2.0.{path}.0"].placement.path == (2,)
        for path in ("branch", "shortcut")
    )
    assert "skip_first=1" in str(report)
    with pytest.raises(ConversionError, match="nothing to convert"):
        convert(plain, (3, 32, 32), Sampling("lattice", skip_first=3))


@pytest.mark.parametrize(
    ("globs", "converted"),
    [
        ({"only": "stages.3.*"}, {"3"}),
        ({"only": ["stages.1.*", "stages.3.*"]}, {"1", "3"}),
        ({"skip": "stages.1.*"}, {"2", "3"}),
        ({"only": ["stages.[12].*"], "skip": ["stages.2.*"]}, {"1"}),
    ],
)
def test_globs_choose_layers(globs: dict[str, Any], converted: set[str]) -> None:
    model = convert(small_resnet(), (3, 32, 32), Sampling("naive", **globs))
    layers = multisampling_layers(model)
    assert {name.split(".")[1] for name in layers} == converted
    assert len(layers) == 2 * len(converted)
    assert len(conversion_report(model).traditional) == 6 - len(layers)
    assert conversion_report(model).submaps == 2 ** len(converted)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("key", ["only", "skip"])
def test_a_glob_that_matches_nothing_names_the_layers(key: str) -> None:
    model = small_resnet()
    sampling = Sampling("naive", **{key: ["stages.1.*", "layer4.*"]})  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match=r"no strided layer matches the name 'layer4.\*'.*3.0.branch.0"):
        convert(model, (3, 16, 16), sampling)
    assert not multisampling_layers(model)


BORDERED = {
    "conv": nn.Conv2d(3, 4, 3, 2, 1),
    "conv 1×1": nn.Conv2d(3, 4, 1, 2),
    "conv 5×5, little padding": nn.Conv2d(3, 4, 5, 2, 1),
    "max": nn.MaxPool2d(2),
    "max, padded": nn.MaxPool2d(3, 2, 1),
    "max, ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "average": nn.AvgPool2d(2),
    "average, padded, not counted": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average, ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
    "power": nn.LPPool2d(2, 2),
}


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("kind", BORDERED)
def test_replicated_borders_are_those_of_a_larger_image(kind: str, size: int) -> None:
    """Where a shifted grid would leave the padded input, it sees the image with its last row and column twice."""
    layer = copy.deepcopy(BORDERED[kind]).double()
    x = torch.randn(2, 3, size, size).double()
    model = convert(
        nn.Sequential(copy.deepcopy(layer), nn.Flatten()), (3, size, size), Sampling(border="replicate")
    )
    got = model[0](x)
    size_out, (kernel, _) = output_size(layer, size, size)[0], pair(layer.kernel_size)  # type: ignore[arg-type]
    padding = pair(getattr(layer, "padding", 0))[0]
    last = (size_out - 1) * 2 + 1 + kernel - padding  # one past what the last window of the shifted grid reads
    leaves = last > size + padding
    image = F.pad(x, (0, 1, 0, 1), mode="replicate") if leaves else x
    shifted = evaluate_at(layer, image, 1, 1)[:, :, :size_out, :size_out]
    torch.testing.assert_close(got, torch.cat([layer(x), shifted]), **CLOSE)
    if leaves and kind in ("conv", "conv 1×1", "average", "power"):  # the others leave out what is not real
        zeros = convert(nn.Sequential(copy.deepcopy(layer), nn.Flatten()), (3, size, size))
        assert not torch.allclose(zeros[0](x), got)


def test_a_replicated_border_needs_no_zeros_on_odd_maps() -> None:
    """A 1×1 shortcut at an odd size: the shifted submap's last row and column are samples, no longer zeros."""
    x = 1 + torch.rand(2, 3, 7, 7)
    layer = nn.Conv2d(3, 3, 1, 2, bias=False)
    nn.init.dirac_(layer.weight)
    for border, smallest in (("zeros", 0.0), ("replicate", 1.0)):
        model = convert(nn.Sequential(copy.deepcopy(layer), nn.Flatten()), (3, 7, 7), Sampling(border=border))  # type: ignore[arg-type]
        assert (model[0](x).min() >= 1.0) == bool(smallest)


def test_three_quarters_keeps_three_in_their_order() -> None:
    layer = nn.Conv2d(3, 4, 3, 2, 1).double()
    model = convert(nn.Sequential(copy.deepcopy(layer), nn.Flatten()), (3, 8, 8), "three_quarters")
    x = torch.randn(2, 3, 8, 8).double()
    assert THREE_QUARTERS == ((0, 0), (1, 1), (0, 1))
    torch.testing.assert_close(model[0](x), multisample_reference(layer, x, 1, [THREE_QUARTERS]), **CLOSE)


def test_complete_keeps_all_column_by_column() -> None:
    assert Sampling("complete").assignment((2,)) == (((0, 0), (1, 0), (0, 1), (1, 1)),)
    assert Sampling("complete").assignment((3,))[0][:4] == ((0, 0), (1, 0), (2, 0), (0, 1))
    layer = nn.Conv2d(3, 4, 1, 2).double()
    model = convert(nn.Sequential(copy.deepcopy(layer), nn.Flatten()), (3, 8, 8), "complete")
    x = torch.randn(2, 3, 8, 8).double()
    expected = torch.cat([layer(F.pad(x, (-dx, dx, -dy, dy))) for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1))])
    torch.testing.assert_close(model[0](x), expected, **CLOSE)


@pytest.mark.parametrize(("name", "levels"), [("naive", naive(5)), ("lattice", LATTICE)])
def test_a_published_sequence_can_be_given_as_custom(name: str, levels: Any) -> None:
    plain = small_resnet().eval()
    matrices = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    custom = convert(copy.deepcopy(plain), (3, 16, 16), Sampling("custom", samplers=matrices, sequence=levels))
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(custom(x), convert(plain, (3, 16, 16), name)(x))


def test_a_single_last_index_goes_for_all_further_levels() -> None:
    matrices = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    sampling = Sampling("custom", samplers=matrices, sequence=[[1], [0]])
    model = convert(small_resnet(), (3, 16, 16), sampling)
    samplers = [
        layer.placement.samplers for name, layer in multisampling_layers(model).items() if "branch" in name
    ]
    assert samplers == [(((0, 1), (1, 0)),), (((0, 0), (1, 1)),), (((0, 0), (1, 1)),)]


GOOD = [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("samplers", "message"),
    [
        ([GOOD, [[1, 0, 0], [0, 1]]], r"samplers\[1\]: expected a square matrix, got 3 values in row 0 of 2"),
        ([[[1, 0]]], r"samplers\[0\]: expected a square matrix, got 2 values in row 0 of 1"),
        ([GOOD, [[0, 0], [0, 0]]], r"samplers\[1\]: keeps nothing"),
        ([[]], r"samplers\[0\]: keeps nothing"),
        ([GOOD, [[1, 0], [2, 0]]], r"samplers\[1\]\[1\]\[0\]: expected 0 or 1, got 2"),
        ([[[1, 0.5], [0, 1]]], r"samplers\[0\]\[0\]\[1\]: expected 0 or 1, got 0.5"),
        (
            [GOOD, [[1, 0, 0], [0, 1, 0], [0, 0, 0]]],
            r"samplers\[1\]: expected as large .*2×2.*got 3 and 2",
        ),
        ([GOOD, [[1, 1], [0, 1]]], r"samplers\[1\]: expected .* as many ones .*2 ones.*got 2 and 3"),
        ([], "name=custom needs k×k matrices"),
    ],
)
def test_a_bad_matrix_is_refused_with_its_place(samplers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling("custom", samplers=samplers)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ([[0], [0, 1]], r"sequence\[1\]\[1\]: expected the index of a sampler, 0 to 0, got 1"),
        ([[-1]], r"sequence\[0\]\[0\]: expected the index"),
        ([[0], []], "expected a list of indices for each level, got an empty one"),
        ([], "expected a list of indices for each level, got an empty one"),
    ],
)
def test_a_bad_sequence_is_refused_with_its_place(sequence: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling("custom", samplers=[GOOD], sequence=sequence)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ([[0], [0, 0], [0, 0]], "level 3 of this network receives 4 submaps .* got 2 samplers"),
        ([[0], [0, 0]], "level 3 of this network receives 4 submaps .* got none"),
    ],
)
def test_a_sequence_that_does_not_fit_the_network_is_named(sequence: Any, message: str) -> None:
    model = small_resnet()
    with pytest.raises(ValueError, match=message):
        convert(model, (3, 16, 16), Sampling("custom", samplers=[GOOD], sequence=sequence))
    assert not multisampling_layers(model)


# --- unusual layers ------------------------------------------------------------------------------------


def net(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def legacy_weight_norm(layer: nn.Module) -> nn.Module:
    return nn.utils.weight_norm(layer)


PARAMETRIZATIONS: list[Any] = [parametrizations.weight_norm, parametrizations.spectral_norm, legacy_weight_norm]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_parametrized_layers_convert(parametrization: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    model = net(parametrization(nn.Conv2d(3, 4, 3, 2, 1))).double().eval()
    x = torch.randn(2, 3, 9, 8).double()
    model(x)  # the legacy form computes its weight in forward
    folded = net(nn.Conv2d(3, 4, 3, 2, 1)).double().eval()
    weights = [value for i in (0, 4) for value in (model[i].weight, model[i].bias)]
    folded.load_state_dict(dict(zip(("0.weight", "0.bias", "4.weight", "4.bias"), weights, strict=True)))
    names = list(model.state_dict())
    convert(model, (3, 9, 8), "naive")
    convert(folded, (3, 9, 8), "naive")
    assert isinstance(model[0], CheckeredConv2d)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(x), folded(x), **CLOSE)
    if parametrization is not legacy_weight_norm:  # torch cannot copy that one once it has run
        twin = copy.deepcopy(model)
        assert torch.equal(twin(x), model(x))
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS[:2])
def test_a_parametrization_can_be_removed_after_conversion(parametrization: Any) -> None:
    model = convert(net(parametrization(nn.Conv2d(3, 4, 3, 2, 1))).eval(), (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    expected = model(x)
    parametrize.remove_parametrizations(model[0], "weight")
    check_folded(model, x, expected)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_legacy_weight_norm_can_be_removed_after_conversion() -> None:
    model = convert(net(legacy_weight_norm(nn.Conv2d(3, 4, 3, 2, 1))).eval(), (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    expected = model(x)
    nn.utils.remove_weight_norm(model[0])
    check_folded(model, x, expected)


def check_folded(model: nn.Sequential, x: Tensor, expected: Tensor) -> None:
    assert isinstance(model[0], CheckeredConv2d)
    assert list(model.state_dict()) == ["0.bias", "0.weight", "4.weight", "4.bias"]
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS[:2])
def test_a_layer_can_be_parametrized_after_conversion(parametrization: Any) -> None:
    model = convert(net(nn.Conv2d(3, 4, 3, 2, 1)), (3, 8, 8))
    parametrization(model[0])
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    assert model[0].submaps_out == 2


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        x = F.max_pool2d(F.relu(self.b(x)), kernel_size=3, stride=2, padding=1)
        return self.fc(x.mean((2, 3)))


class Modular(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.pool1, self.pool2 = nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(F.relu(self.a(x)))
        x = self.pool2(F.relu(self.b(x)))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("sampling", ["naive", "lattice", "complete", "random", "stochastic"])
@pytest.mark.parametrize("training", [False, True])
def test_functional_poolings_are_as_modules(sampling: str, training: bool) -> None:
    functional, modular = Functional(), Modular()
    modular.load_state_dict(functional.state_dict())
    for model in (functional, modular):
        convert(model, (3, 16, 16), sampling).train(training)
    x = torch.randn(2, 3, 17, 16)
    outputs = []
    for model in (functional, copy.deepcopy(functional), pickle.loads(pickle.dumps(functional)), modular):
        torch.manual_seed(0)
        outputs.append(model(x))
    assert all(torch.equal(out, outputs[0]) for out in outputs)
    assert list(functional.state_dict()) == list(modular.state_dict()) == list(Functional().state_dict())
    got, expected = conversion_report(functional), conversion_report(modular)
    assert [layer.name for layer in got.layers] == ["max_pool2d[0]", "max_pool2d[1]"]
    assert [(layer.submaps, layer.size) for layer in got.layers] == [
        (layer.submaps, layer.size) for layer in expected.layers
    ]


class Shrinking(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv, self.fc = how, nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, ::2, ::2] if self.how == "slice" else F.interpolate(x, scale_factor=0.5)
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("slice", "slicing from 16×16 to 8×8"),
        ("interpolate", r"F\.interpolate from 16×16"),
    ],
)
def test_other_functional_subsampling_is_named(how: str, message: str) -> None:
    model = convert(Shrinking(how), (3, 16, 16))
    (reason,) = conversion_report(model).traditional.values()
    assert reason.startswith(message.replace("\\", ""))
    assert conversion_report(model).submaps == 2
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 3)


class Reflected(nn.Conv2d):
    """Pads in its own way, in its own forward."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, self.bias, self.stride)


class Renamed(nn.Conv2d):
    """Computes what its base does."""

    note = "mine"


def test_a_layer_that_pads_in_its_own_forward_converts_without_a_rule() -> None:
    model = convert(nn.Sequential(Reflected(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2, 1), nn.Flatten()), (3, 16, 16))
    assert [layer.name for layer in conversion_report(model).layers] == ["0", "1"]
    assert type(model[0]).__name__ == "Reflected"
    assert isinstance(model[0], Reflected)
    x = torch.randn(2, 3, 15, 16)
    equivalent = nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect")
    equivalent.load_state_dict(model[0].state_dict())
    expected = convert(nn.Sequential(equivalent, nn.Flatten()), (3, 16, 16))[0](x)
    torch.testing.assert_close(model[0](x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


class Doubled(CheckeredConv2d):
    """A rule of a user's."""

    def multisample(self, x: Tensor, placement: Any) -> Tensor:
        return 2 * super().multisample(x, placement)


class Own(nn.Conv2d):
    """A layer that a rule is registered for."""


@pytest.mark.parametrize("kind", [Own, f"{__name__}.Own"], ids=["class", "name"])
def test_a_registered_rule_decides_what_a_layer_becomes(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccnn.multisampling.conversion.rules._RULES", {nn.Conv2d: CheckeredConv2d})
    plain = nn.Sequential(Own(3, 4, 3, 2, 1), nn.Flatten())
    x = torch.randn(2, 3, 16, 16)
    expected = convert(copy.deepcopy(plain), (3, 16, 16))[0](x)
    register_rule(kind, Doubled)
    torch.testing.assert_close(convert(plain, (3, 16, 16))[0](x), 2 * expected)
    assert isinstance(plain[0], Own)


def test_a_subclass_that_computes_the_same_needs_none() -> None:
    model = convert(net(Renamed(3, 4, 3, 2, 1)), (3, 8, 8))
    assert isinstance(model[0], CheckeredConv2d)
    assert isinstance(model[0], Renamed)
    assert model[0].note == "mine"
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


@pytest.mark.parametrize(
    ("kind", "rule"), [("x.Conv", nn.Conv2d), (int, CheckeredConv2d), (nn.Conv2d(1, 1, 1), CheckeredConv2d)]
)
def test_a_rule_of_the_wrong_type_is_refused(kind: Any, rule: Any) -> None:
    with pytest.raises(TypeError, match="register_rule: expected a"):
        register_rule(kind, rule)


@pytest.mark.parametrize("sampling", ["naive", "three_quarters"])
def test_power_average_pooling_converts(sampling: str) -> None:
    pool = nn.LPPool2d(2, 3, 2)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), copy.deepcopy(pool))
    model = convert(net(body), (3, 14, 14), sampling).double()
    x = torch.randn(2, 4, 11, 12).double()
    samplers = [THREE_QUARTERS] if sampling == "three_quarters" else [0]
    torch.testing.assert_close(body[1](x), multisample_reference(pool, x, 1, samplers), **CLOSE)
    assert model(torch.randn(2, 3, 14, 15).double()).shape == (2, 3)
