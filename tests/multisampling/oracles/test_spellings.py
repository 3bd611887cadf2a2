"""Law 1 of conversion: two networks that compute the same function convert to the same function, or say no."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
import torch
from layer_spellings import LAYERS
from spellings import WHOLE_MAPS, Size, Spelling, named
from torch import Tensor, nn

import ccnn

PAIRS = {name: (first, other) for name, first, other in named(WHOLE_MAPS | LAYERS)}

FAILING = {
    "avg_pool": "depthwise",
    "cbam": "flattened windows",
    "channel_attention": "view",
    "conv": "bias_added function function_by_keyword padded_function subclass_that_pads",
    "group_norm": "function function_by_keyword torch",
    "head": "convolutions",
    "instance_norm": "function",
    "lp_pool": "function",
    "max": (
        "amax amax_function flatten_amax flatten_max flatten_max_function function negative_minimum "
        "stepwise stepwise_max window_by_keyword window_function window_module "
    ),
    "max_pool": "indices_dropped",
    "mean": (
        "channels_last columns_then_rows einsum flatten_mean flatten_module function keepdim_twice "
        "matmul mean mean_from_the_end mean_function pool_1d reshape_mean rows_then_columns stepwise_sum "
        "sum_over_number tokens view_mean window_function window_module window_of_stride_1 "
        "window_with_stride "
    ),
    "one_group": "by_hand layer_norm means",
    "pointwise": "function",
    "reflect": "function",
    "rows": "size_read_first size_read_first_reshape",
    "same": "pad_module timm",
    "squeeze_and_excitation": "linear_sum linear_view stepwise window window_with_stride",
}
"""What the conversion of today gets wrong: whoever mends it takes the name out, as `strict` demands."""


def cases() -> Iterator[Any]:
    for name in PAIRS:
        kind, _, spelling = name.partition("-")
        failing = spelling in FAILING.get(kind, "").split()
        yield pytest.param(name, marks=[pytest.mark.xfail(strict=True)] * failing)


def filled(model: nn.Module) -> nn.Module:
    """The model in float64 with values that depend on the order of its parameters alone."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.double().parameters():
            values = torch.randn(parameter.numel(), generator=generator, dtype=torch.float64)
            parameter.copy_(values.view_as(parameter) / max(1, parameter[0].numel()) ** 0.5)
    return model.eval()


@lru_cache
def converted(spelling: Spelling, size: Size, sampling: str) -> nn.Module | None:
    """The converted network; None if conversion refuses it."""
    try:
        return ccnn.convert(filled(spelling.build(size)), (3, *size), sampling)
    except ccnn.ConversionError:
        return None


def images(size: Size) -> Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(16, 24), pytest.param((16, 16), marks=pytest.mark.slow)])
@pytest.mark.parametrize("pair", list(cases()))
def test_equal_networks_convert_to_equal_functions(pair: str, size: Size) -> None:
    first, other = PAIRS[pair]
    x = images(size)
    plain = filled(first.build(size))(x)
    torch.testing.assert_close(filled(other.build(size))(x), plain, rtol=1e-9, atol=1e-9)
    expected, got = converted(first, size, "lattice"), converted(other, size, "lattice")
    if expected is None:
        assert got is None, f"{first.name} is refused and {other.name} is not"
        return
    if got is None:
        assert other.exotic, f"{other.name} is refused and {first.name} is not"
        return
    assert not torch.allclose(expected(x), plain, rtol=1e-3), (
        "conversion changes nothing here, so it proves nothing"
    )
    torch.testing.assert_close(got(x), expected(x), rtol=1e-9, atol=1e-9)
