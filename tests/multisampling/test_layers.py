"""The layers against the operation at stride 1, from which positions are picked (tests/reference.py)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import multisample_reference
from torch import Tensor, nn

from ccnn.multisampling.base import Multisampling, Placement
from ccnn.multisampling.conversion.rules import become, find_rule
from ccnn.multisampling.convolution import CheckeredConv2d
from ccnn.multisampling.joint import JointAdaptiveAvgPool2d, JointAdaptiveMaxPool2d, JointDropout2d
from ccnn.multisampling.pooling import CheckeredAvgPool2d, CheckeredMaxPool2d
from ccnn.multisampling.samplers import COMPLEMENTARY, STANDARD, Assignment, Sampling


def multisampling(plain: nn.Module, submaps: int, samplers: Assignment) -> Multisampling:
    rule, _ = find_rule(plain)
    assert rule is not None
    become(plain, rule)
    assert isinstance(plain, Multisampling)
    plain.placement = Placement(submaps, samplers)
    return plain


def check(plain: nn.Module, channels: int, size: tuple[int, int], submaps: int, samplers: Assignment) -> None:
    x = torch.randn(submaps * 2, channels, *size, dtype=torch.float64, requires_grad=True)
    per_submap = samplers * submaps if len(samplers) == 1 else samplers
    expected = multisample_reference(plain.double(), x, submaps, per_submap)
    grad = torch.randn_like(expected)
    (expected_grad,) = torch.autograd.grad(expected, x, grad)
    got = multisampling(plain, submaps, samplers)(x)
    (got_grad,) = torch.autograd.grad(got, x, grad)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got_grad, expected_grad, rtol=1e-12, atol=1e-12)
    assert got.isfinite().all()


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def assignments(draw: st.DrawFn, stride: int) -> tuple[int, Assignment]:
    """Any samplers of one size: not only the methods', so that no symmetry of theirs can hide a mistake."""
    submaps = draw(st.sampled_from([1, 2, 3, 4]))
    position = st.tuples(st.integers(0, stride - 1), st.integers(0, stride - 1))
    kept = draw(st.integers(1, 3))
    sampler = st.lists(position, min_size=kept, max_size=kept).map(tuple)
    count = draw(st.sampled_from([1, submaps]))
    return submaps, tuple(draw(st.lists(sampler, min_size=count, max_size=count)))


def convolution(data: st.DataObject) -> None:
    stride, groups = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([1, 2, 4]))
    mode: Any = data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    kernel, dilation, padding = data.draw(pairs(1, 5)), data.draw(pairs(1, 2)), data.draw(pairs(0, 3))
    size = data.draw(pairs(9, 14))
    plain = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, data.draw(st.booleans()), padding_mode=mode)
    check(plain, 4, size, *data.draw(assignments(stride)))


def max_pooling(data: st.DataObject) -> None:
    stride, kernel = data.draw(st.integers(2, 4)), data.draw(pairs(1, 5))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    dilation = data.draw(pairs(1, 2))
    size = tuple(dilation[a] * (kernel[a] - 1) + 1 + data.draw(st.integers(0, 6)) for a in (0, 1))
    plain = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=data.draw(st.booleans()))
    check(plain, 3, size, *data.draw(assignments(stride)))  # type: ignore[arg-type]


def average_pooling(data: st.DataObject) -> None:
    stride, kernel = data.draw(st.integers(2, 4)), data.draw(pairs(1, 5))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(k + data.draw(st.integers(0, 6)) for k in kernel)
    plain = nn.AvgPool2d(
        kernel,
        stride,
        padding,  # type: ignore[arg-type]
        ceil_mode=data.draw(st.booleans()),
        count_include_pad=data.draw(st.booleans()),
        divisor_override=data.draw(st.sampled_from([None, None, 3])),
    )
    check(plain, 3, size, *data.draw(assignments(stride)))  # type: ignore[arg-type]


def power_average_pooling(data: st.DataObject) -> None:
    stride, kernel = data.draw(st.integers(2, 4)), data.draw(pairs(1, 5))
    size = tuple(k + data.draw(st.integers(0, 6)) for k in kernel)
    plain = nn.LPPool2d(2, kernel, stride, data.draw(st.booleans()))
    check(plain, 3, size, *data.draw(assignments(stride)))  # type: ignore[arg-type]


KINDS = [convolution, max_pooling, average_pooling, power_average_pooling]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_its_operation_at_stride_1_and_picked(kind: Callable[[st.DataObject], None]) -> None:
    given(st.data())(settings(max_examples=120, deadline=None)(kind))()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_in_a_thousand_cases(kind: Callable[[st.DataObject], None]) -> None:
    given(st.data())(settings(max_examples=1000, deadline=None)(kind))()


CHANNELS_LAST: dict[str, nn.Module] = {
    "conv": nn.Conv2d(8, 8, 3, 2, 1),
    "conv, not padded": nn.Conv2d(8, 8, 3, 2),
    "conv, reflected": nn.Conv2d(8, 8, 3, 2, 1, padding_mode="reflect"),
    "max": nn.MaxPool2d(3, 2, 1),
    "max, not padded": nn.MaxPool2d(2),
    "average": nn.AvgPool2d(2),
    "average, ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
}


# One position each: where several gradients are summed, the first one's layout would hide the others'.
@pytest.mark.parametrize("samplers", [(((1, 1),),), (((0, 1),), ((1, 0),))], ids=["one", "two"])
@pytest.mark.parametrize("kind", CHANNELS_LAST)
def test_channels_last_survives_forward_and_backward(kind: str, samplers: Assignment) -> None:
    """A gradient in another layout would have every layer before it convert it."""
    layer = multisampling(copy.deepcopy(CHANNELS_LAST[kind]), 2, samplers)
    x = torch.randn(8, 8, 12, 12).to(memory_format=torch.channels_last)
    seen: list[Tensor] = []
    x = x.requires_grad_().mul(1)
    x.register_hook(seen.append)
    out = layer(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.backward(torch.randn_like(out))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2])
def test_max_pooling_of_tiny_maps_is_finite(size: int, kernel: int) -> None:
    layer = CheckeredMaxPool2d(kernel, 2, ceil_mode=True)
    x = -1 - torch.rand(1, 1, size, size)
    assert layer(x).isfinite().all()
    assert torch.equal(layer(x)[:1], nn.MaxPool2d(kernel, 2, ceil_mode=True)(x))


LAYERS: list[tuple[Any, Any]] = [
    (CheckeredConv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)),
    (CheckeredMaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)),
    (CheckeredAvgPool2d(2), nn.AvgPool2d(2)),
]


@pytest.mark.parametrize(("layer", "plain"), LAYERS, ids=lambda m: type(m).__name__)
def test_layers_built_by_hand_yield_the_plain_map_first(layer: nn.Module, plain: nn.Module) -> None:
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(5, 3, 11, 8)
    got = layer(x)
    assert got.shape[0] == 10
    torch.testing.assert_close(got[:5], plain(x))


def test_submaps_choose_the_step_of_the_sequence() -> None:
    layer = CheckeredConv2d(1, 1, 3, stride=2, submaps=4, sampling="lattice")
    assert layer.placement.samplers == (STANDARD, COMPLEMENTARY, STANDARD, COMPLEMENTARY)
    assert "submaps=4→8, lattice" in repr(layer)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"stride": (2, 1)}, r"stride: multisampling needs the same stride on both axes, got \(2, 1\)"),
        ({"submaps": 0, "stride": 2}, "submaps: expected a whole number of at least 1, got 0"),
        ({"depth": 0}, "depth: expected at least 1, got 0"),
        ({"depth": 2, "stride": 2}, "depth: a kernel across submaps needs stride 1"),
        ({"sampling": "nave", "stride": 2}, "Did you mean 'naive'"),
        ({"submaps": 3, "stride": 2, "sampling": "lattice"}, "one for each of 3 submaps"),
    ],
)
def test_mistakes_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckeredConv2d(3, 4, 3, **kwargs)


def test_indices_of_max_pooling_are_refused() -> None:
    with pytest.raises(ValueError, match="return_indices"):
        CheckeredMaxPool2d(2, return_indices=True)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("submaps", "depth"), [(2, 2), (4, 2), (4, 3), (4, 1)])
def test_depth_is_a_3d_convolution_along_the_submaps(submaps: int, depth: int, groups: int) -> None:
    layer = CheckeredConv2d(4, 6, 3, padding=1, groups=groups, submaps=submaps, depth=depth).double()
    reference = nn.Conv3d(4, 6, (depth, 3, 3), padding=(0, 1, 1), groups=groups).double()
    assert layer.bias is not None
    assert reference.bias is not None
    reference.weight.data = layer.weight.data.view(6, 4 // groups, depth, 3, 3)
    reference.bias.data = layer.bias.data
    x = torch.randn(submaps, 2, 4, 5, 5, dtype=torch.float64)
    expected = reference(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)
    torch.testing.assert_close(layer(x.flatten(0, 1)), expected.flatten(0, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("submaps", "depth"), [(4, 2), (2, 2), (1, 2), (2, 3), (1, 3), (4, 4)])
def test_depth_that_wraps_goes_on_in_the_next_row(submaps: int, depth: int) -> None:
    """All submaps once more below, a row further down each time, then a 3-D convolution without padding."""
    layer = CheckeredConv2d(4, 6, 3, padding=1, submaps=submaps, depth=depth, wrap=True).double()
    assert layer.submaps_out == submaps
    reference = nn.Conv3d(4, 6, (depth, 3, 3), padding=(0, 1, 1)).double()
    assert layer.bias is not None
    assert reference.bias is not None
    reference.weight.data = layer.weight.data.view(6, 4, depth, 3, 3)
    reference.bias.data = layer.bias.data
    x = torch.randn(submaps, 2, 4, 5, 5, dtype=torch.float64)
    rows = torch.cat([x, torch.zeros(submaps, 2, 4, 3, 5, dtype=torch.float64)], dim=3)
    scan = torch.cat([rows[:, :, :, turn : turn + 5] for turn in range(3)])[: submaps + depth - 1]
    expected = reference(scan.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)
    torch.testing.assert_close(layer(x.flatten(0, 1)), expected.flatten(0, 1), rtol=1e-12, atol=1e-12)


def test_depth_wraps_around_where_there_are_too_few_submaps() -> None:
    layer = CheckeredConv2d(3, 5, 3, padding=1, depth=2)
    x = torch.randn(2, 3, 6, 6)
    both = layer.weight.view(5, 3, 2, 3, 3).sum(2)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, both, layer.bias, padding=1))


def test_joint_pooling_is_3d_pooling() -> None:
    x = torch.randn(4, 3, 2, 5, 5)  # 4 submaps of 3 images
    maps = x.permute(1, 2, 0, 3, 4)
    for joint, pool in (
        (JointAdaptiveAvgPool2d(1, submaps=4), nn.AdaptiveAvgPool3d(1)),
        (JointAdaptiveMaxPool2d(1, submaps=4), nn.AdaptiveMaxPool3d(1)),
    ):
        expected = pool(maps).squeeze(2)
        torch.testing.assert_close(joint(x.flatten(0, 1)), expected.repeat(4, 1, 1, 1))


def test_joint_dropout_drops_a_channel_in_all_submaps() -> None:
    layer = JointDropout2d(0.5, submaps=3)
    x = torch.ones(3 * 40, 30, 2, 2)
    maps = layer(x).unflatten(0, (3, 40))
    assert set(maps.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(maps, maps[:1, :, :, :1, :1].expand_as(maps))
    assert maps.mean().item() == pytest.approx(1.0, abs=0.15)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("sampling", ["naive", "lattice"])
def test_one_by_one_kernels_take_slices(sampling: str) -> None:
    plain = nn.Conv2d(3, 4, 1, stride=2)
    samplers = Sampling(sampling).assignment((2, 2, 2))
    check(plain, 3, (9, 8), 4, samplers)


def test_a_batch_that_cannot_hold_the_submaps_is_refused() -> None:
    layer = CheckeredConv2d(3, 4, 3, stride=2, submaps=2)
    with pytest.raises(ValueError, match="a batch of 3 cannot hold 2 submaps"):
        layer(torch.zeros(3, 3, 8, 8))


def test_layers_built_by_hand_after_others_of_another_stride() -> None:
    layer = CheckeredConv2d(1, 1, 4, stride=4, submaps=2, sampling="lattice")
    assert (len(layer.placement.samplers), layer.submaps_out) == (2, 8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("sampling", ["naive", "lattice", "complete", "three_quarters"])
def test_other_precisions_are_close(dtype: torch.dtype, tolerance: float, sampling: str) -> None:
    torch.manual_seed(0)
    for plain in (nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 1, 2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)):
        x = torch.randn(2, 8, 11, 10).to(dtype)
        plain.to(dtype).double()  # the oracle works on the rounded weights
        samplers = Sampling(sampling).assignment((2,))
        expected = multisample_reference(plain, x.double(), 1, samplers)
        got = multisampling(plain.to(dtype), 1, samplers)(x)
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
