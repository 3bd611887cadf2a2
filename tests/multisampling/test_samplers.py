from itertools import product
from math import prod

import pytest
from reference import LATTICE, min_toroidal_distance, offsets_reference

from ccnn.multisampling.samplers import COMPLEMENTARY, STANDARD, Sampling, diagonal
from ccnn.multisampling.submaps import offsets

# PAPER.md, "Minimum distance between samples on the torus", the table and the lines below it.
NAIVE_DISTANCES = [1.41, 1.41, 1.41, 1.41, 1.41]
LATTICE_DISTANCES = [1.41, 1.41, 2.83, 3.16, 5.10, 7.62, 8.60, 15.81, 19.03, 27.02]


def steps(sampling: str, strides: tuple[int, ...]):  # type: ignore[no-untyped-def]
    return [(stride, Sampling(sampling).assignment(strides[: i + 1])) for i, stride in enumerate(strides)]


@pytest.mark.parametrize(("name", "distances"), [("naive", NAIVE_DISTANCES), ("lattice", LATTICE_DISTANCES)])
def test_distances_are_the_papers(name: str, distances: list[float]) -> None:
    got = [min_toroidal_distance(offsets(steps(name, (2,) * n)), 2**n) for n in range(1, len(distances) + 1)]
    assert got == pytest.approx(distances, abs=0.005)


def test_lattice_is_the_published_sequence() -> None:
    for i, published in enumerate(LATTICE):
        got = Sampling("lattice").assignment((2,) * (i + 1))
        assert got == tuple((STANDARD, COMPLEMENTARY)[index] for index in published)  # type: ignore[index]


def test_offsets_follow_the_order_of_the_submaps() -> None:
    assert offsets(steps("lattice", (2, 2, 2, 2))) == offsets_reference(LATTICE[:4])
    assert offsets(steps("naive", (2, 2))) == [(0, 0), (1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("name", ["naive", "lattice"])
@pytest.mark.parametrize("strides", [(4,), (4, 2), (2, 4), (8,), (2, 4, 4)])
def test_a_stride_of_four_is_two_steps_of_two(name: str, strides: tuple[int, ...]) -> None:
    binary = tuple(2 for stride in strides for _ in range(stride.bit_length() - 1))
    assert offsets(steps(name, strides)) == offsets(steps(name, binary))


@pytest.mark.parametrize("stride", [2, 3, 4, 7])
def test_samplers_have_the_rooks_property(stride: int) -> None:
    assert len({y for y, _ in diagonal(stride)}) == len({x for _, x in diagonal(stride)}) == stride


def test_unknown_methods_are_named() -> None:
    with pytest.raises(ValueError, match=r"got 'latice', expected one of .*lattice.*Did you mean 'lattice'"):
        Sampling("latice")


@pytest.mark.parametrize("path", [(2,), (2, 2), (2, 2, 2), (2, 2, 2, 2)])
def test_each_lattice_step_is_the_best_there_is(path: tuple[int, ...]) -> None:
    """By trying all assignments of the next step."""
    before, side = offsets(steps("lattice", path)), 2 ** len(path)
    best = max(
        min_toroidal_distance(
            [
                (y + side * p[k][0], x + side * p[k][1])
                for (y, x), p in zip(before, chosen, strict=True)
                for k in (0, 1)
            ],
            2 * side,
        )
        for chosen in product((STANDARD, COMPLEMENTARY), repeat=len(before))
        if chosen[0] == STANDARD  # the other half are the same patterns, shifted
    )
    assert min_toroidal_distance(offsets(steps("lattice", (*path, 2))), 2 * side) == best


@pytest.mark.parametrize("strides", [(3,), (3, 3), (2, 3), (3, 2), (5,), (6, 2), (7,)])
def test_other_strides_spread_at_least_as_far_as_the_diagonal(strides: tuple[int, ...]) -> None:
    side = prod(strides)
    lattice, naive = offsets(steps("lattice", strides)), offsets(steps("naive", strides))
    assert len({y for y, _ in lattice}) == len({x for _, x in lattice}) == side
    assert min_toroidal_distance(lattice, side) >= min_toroidal_distance(naive, side)
