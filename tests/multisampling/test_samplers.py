from itertools import permutations, product
from math import prod

import pytest
import torch
from reference import COMPLETE, LATTICE, min_toroidal_distance, offsets_reference

import ccnn
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


@pytest.mark.parametrize("strides", [(4, 2), (2, 4), (8,), (3, 2), (2, 3)])
def test_complete_keeps_every_position_once(strides: tuple[int, ...]) -> None:
    side = prod(strides)
    assert sorted(offsets(steps("complete", strides))) == sorted(product(range(side), repeat=2))


def test_complete_of_stride_four_is_aligned_with_two_steps_of_two() -> None:
    assert offsets(steps("complete", (4,))) == offsets_reference([[COMPLETE], [COMPLETE] * 4])


class UpperRow(Sampling):
    """Keeps the first row of each window."""

    def choose(self, strides):  # type: ignore[no-untyped-def]
        return (tuple((0, dx) for dx in range(strides[-1])),)


def test_a_subclass_is_a_method_of_its_own() -> None:
    sampling = UpperRow("upper_row", skip_first=1)
    assert str(sampling) == "upper_row skip_first=1"
    assert sampling == UpperRow("upper_row", skip_first=1)
    assert sampling not in (Sampling("naive", skip_first=1), UpperRow("upper_row"))
    assert sampling.in_evaluation() is sampling
    assert not sampling.draws
    first, second = torch.nn.Conv2d(1, 1, 1, 2), torch.nn.Conv2d(1, 1, 1, 2)
    model = torch.nn.Sequential(first, second, torch.nn.Flatten())
    ccnn.convert(model, (1, 4, 4), UpperRow("upper_row"))
    report = ccnn.conversion_report(model)
    assert report.sampling.name == "upper_row"
    assert [layer.submaps for layer in report.layers] == [(1, 2), (2, 4)]
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Of each 4×4 cell the two steps keep the first row.
    mean = x[:1, :1, :1].mean(3, keepdim=True)
    plain = mean
    for layer in (first, second):
        plain = torch.nn.functional.conv2d(plain, layer.weight, layer.bias)
    assert model(x).item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("chosen", "name", "message"),
    [
        ((((0, 0),),), "naive", "sampling.name: 'naive' is a method of ccnn's; give Chosen another name"),
        ((((0, 2),),), "mine", r"Chosen.choose must return .* of a 2×2 window, got \(\(\(0, 2\),\),\)"),
        ((((0, 1), (0, 1)),), "mine", "different positions"),
        ((((0, 0),), ((0, 1), (1, 0))), "mine", "equally many"),
        (((),), "mine", "equally many"),
        ((), "mine", "equally many"),
    ],
)
def test_what_a_subclass_chooses_is_checked(chosen, name: str, message: str) -> None:  # type: ignore[no-untyped-def]
    class Chosen(Sampling):
        def choose(self, strides):  # type: ignore[no-untyped-def]
            return chosen

    with pytest.raises(ValueError, match=message):
        Chosen(name).assignment((2,))


def test_unknown_methods_are_named() -> None:
    with pytest.raises(ValueError, match=r"got 'latice', expected one of .*lattice.*Did you mean 'lattice'"):
        Sampling("latice")


@pytest.mark.parametrize("path", [(2,), (2, 2), (2, 2, 2), pytest.param((2, 2, 2, 2), marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("path", [(3,), (2, 2), (5,)])
def test_a_step_of_three_is_the_best_there_is(path: tuple[int, ...]) -> None:
    """By trying all n-rooks samplers; the diagonal on every submap is worse in each of these cases."""
    before, side = offsets(steps("lattice", path)), prod(path)
    rooks = [tuple(enumerate(columns)) for columns in permutations(range(3))]

    def distance(chosen):  # type: ignore[no-untyped-def]
        samples = [
            (y + side * dy, x + side * dx) for (y, x), p in zip(before, chosen, strict=True) for dy, dx in p
        ]
        return min_toroidal_distance(samples, 3 * side)

    best = max(distance(chosen) for chosen in product(rooks, repeat=len(before)))
    assert distance([diagonal(3)] * len(before)) < best
    assert min_toroidal_distance(offsets(steps("lattice", (*path, 3))), 3 * side) == best


@pytest.mark.parametrize("strides", [(3,), (3, 3), (2, 3), (3, 2), (5,), (6, 2), (7,)])
def test_other_strides_spread_at_least_as_far_as_the_diagonal(strides: tuple[int, ...]) -> None:
    side = prod(strides)
    lattice, naive = offsets(steps("lattice", strides)), offsets(steps("naive", strides))
    assert len({y for y, _ in lattice}) == len({x for _, x in lattice}) == side
    assert min_toroidal_distance(lattice, side) >= min_toroidal_distance(naive, side)
