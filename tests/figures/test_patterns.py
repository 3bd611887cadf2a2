"""The samples that patterns show, against slicing an image and against PAPER.md's table of distances."""

from fractions import Fraction

import pytest
import torch
from reference import LATTICE, min_toroidal_distance, offsets_reference

import ccnn
from ccnn.figures.methods import N_ROOKS, SHOWN, steps_of
from ccnn.figures.patterns import Pattern, patterns
from ccnn.models import Toy

# PAPER.md, "Minimum distance between samples on the torus"; of the lattice, what going on step by step gives.
DISTANCES = {
    "naive": [1.41] * 9,
    "lattice": [1.41, 1.41, 2.83, 3.16, 5.10, 7.62, 8.60, 15.81, 19.03],
    "traditional": [2.0**n for n in range(1, 10)],
    "complete": [1.0] * 5,
    "three_quarters": [1.0] * 5,
}
KEPT = {
    "traditional": Fraction(1, 4),
    "three_quarters": Fraction(3, 4),
    "complete": Fraction(1),
    "stochastic": Fraction(1, 4),
}


@pytest.mark.parametrize("method", DISTANCES)
def test_distances_are_the_papers(method: str) -> None:
    found = patterns(steps_of(method, [2] * len(DISTANCES[method])))[1:]
    assert [p.distance for p in found] == pytest.approx(DISTANCES[method], abs=0.005)


@pytest.mark.parametrize(
    ("method", "stride"), [("random", 2), ("lattice", 3), (N_ROOKS, 3), ("naive", 5), ("random", 3)]
)
def test_distances_are_those_of_all_pairs(method: str, stride: int) -> None:
    for pattern in patterns(steps_of(method, [stride] * 3, seed=5))[1:]:
        assert pattern.distance == pytest.approx(min_toroidal_distance(list(pattern.offsets), pattern.side))


@pytest.mark.parametrize("method", SHOWN)
def test_each_step_keeps_its_part_of_the_pixels(method: str) -> None:
    stride = 3 if method == N_ROOKS else 2
    found = patterns(steps_of(method, [stride] * 3))
    part = Fraction(1, 3) if method == N_ROOKS else KEPT.get(method, Fraction(1, 2))
    size = 2 * stride**3
    for step, pattern in enumerate(found):
        assert pattern.kept == part**step
        owners = pattern.owners(size)
        assert int((owners >= 0).sum()) == pattern.kept * size**2
        counts = owners[owners >= 0].bincount(minlength=len(pattern.offsets))
        assert set(counts.tolist()) == {(size // stride**step) ** 2}


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_submaps_are_where_the_published_order_puts_them(step: int) -> None:
    pattern = patterns(steps_of("lattice", [2] * step))[-1]
    assert list(pattern.offsets) == offsets_reference(LATTICE[:step])
    owners = pattern.owners(3 * pattern.side)
    for submap, (dy, dx) in enumerate(pattern.offsets):
        mask = torch.zeros_like(owners, dtype=torch.bool)
        mask[dy :: pattern.side, dx :: pattern.side] = True
        assert torch.equal(owners == submap, mask)


def test_n_rooks_share_no_row_and_no_column() -> None:
    for pattern in patterns(steps_of(N_ROOKS, (3, 3)))[1:]:
        rows, columns = zip(*pattern.offsets, strict=True)
        assert len(set(rows)) == len(set(columns)) == pattern.side


def test_draws_follow_from_the_seed() -> None:
    drawn = [patterns(steps_of("random", (2, 2, 2), seed))[-1].offsets for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    steps = steps_of("stochastic", (2,) * 6, seed=1)
    assert all(len(sampler) == 1 for _, assignment in steps for sampler in assignment)
    assert len({assignment for _, assignment in steps}) > 1


def test_an_image_of_another_size_shows_the_beginning_of_the_pattern() -> None:
    pattern = Pattern((2,), ((0, 0), (1, 1)))
    assert pattern.owners(3).tolist() == [[0, -1, 0], [-1, 1, -1], [0, -1, 0]]


@pytest.mark.parametrize("stride", [3, 6])
def test_a_stride_that_a_method_is_not_for_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"powers of two, not {stride}"):
        steps_of("three_quarters", (stride,))


def test_a_conversion_report_has_the_steps_of_its_pattern() -> None:
    report = ccnn.conversion_report(ccnn.convert(Toy(), (1, 16, 16), "lattice"))
    assert patterns(report.steps)[-1] == patterns(steps_of("lattice", (2,)))[-1]
