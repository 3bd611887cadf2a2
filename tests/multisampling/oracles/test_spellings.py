"""Law 1 of conversion: two networks that compute the same function convert to the same function, or say no."""

from functools import lru_cache

import pytest
import torch
from layer_spellings import LAYERS
from spellings import WHOLE_MAPS, Size, Spelling, filled, named
from torch import Tensor, nn

import ccnn

PAIRS = {name: (first, other) for name, first, other in named(WHOLE_MAPS | LAYERS)}


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
@pytest.mark.parametrize("pair", PAIRS)
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
