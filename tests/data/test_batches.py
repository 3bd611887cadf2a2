"""Which images make up which batch."""

import pytest
import torch
from torch.utils.data import DistributedSampler

from ccnn.data import EvaluationBatches, TrainingBatches
from ccnn.seeds import derive_seed

SIZES = [(100, 10), (103, 10), (101, 10), (7, 7), (8, 7), (5, 1), (1, 1), (2, 2), (1297, 32)]


def places(batches: TrainingBatches) -> list[tuple[int, int, list[int]]]:
    return [(epoch, batch, indices.tolist()) for epoch, batch, indices in batches]


@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_an_epoch_has_every_image_once(size: int, batch_size: int) -> None:
    batches = TrainingBatches(size, batch_size, seed=0)
    for epoch in range(3):
        got = places(batches)
        assert [(e, b) for e, b, _ in got] == [(epoch, b) for b in range(len(batches))]
        assert sorted(index for _, _, indices in got for index in indices) == list(range(size))


@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_batches_are_full_but_for_the_last(size: int, batch_size: int) -> None:
    lengths = [len(indices) for _, _, indices in places(TrainingBatches(size, batch_size, seed=0))]
    assert set(lengths[:-1]) <= {batch_size}
    assert 0 < lengths[-1] <= batch_size + 1


def test_a_single_image_joins_the_batch_before() -> None:
    assert [len(i) for _, _, i in TrainingBatches(101, 50, seed=0)] == [50, 51]
    assert [len(i) for _, _, i in TrainingBatches(102, 50, seed=0)] == [50, 50, 2]
    assert [len(i) for _, _, i in TrainingBatches(3, 1, seed=0)] == [1, 1, 1]


def test_permutations_depend_on_seed_and_epoch_alone() -> None:
    first = places(TrainingBatches(500, 50, seed=4))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert places(TrainingBatches(500, 50, seed=4)) == first
    assert torch.equal(torch.get_rng_state(), state)
    orders = {tuple(TrainingBatches(500, 50, seed).indices(e).tolist()) for seed in range(9) for e in range(9)}
    assert len(orders) == 81


@pytest.mark.parametrize("start", [(0, 0), (0, 3), (2, 9), (2, 0), (1, 10)])
def test_starting_in_the_middle_gives_the_same_rest(start: tuple[int, int]) -> None:
    straight, resumed = TrainingBatches(100, 10, seed=1), TrainingBatches(100, 10, seed=1, start=start)
    assert len(resumed) == 10, "an epoch is as long, wherever training goes on"
    expected = [place for _ in range(4) for place in places(straight) if place[:2] >= start]
    assert [place for _ in range(4 - start[0]) for place in places(resumed)] == expected


def test_an_epoch_left_early_is_over_and_one_never_begun_is_not() -> None:
    batches = TrainingBatches(100, 10, seed=1)
    iter(batches)
    assert next(iter(batches))[:2] == (0, 0)
    assert next(iter(batches))[:2] == (1, 0)


@pytest.mark.parametrize("size", [96, 97, 101, 103, 2, 9])
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_a_permutation(size: int, world_size: int) -> None:
    """As torch's DistributedSampler does: its list of images for each rank is compared."""
    ranks = [TrainingBatches(size, 8, 0, rank, world_size) for rank in range(world_size)]
    whole = TrainingBatches(size, 8, 0).indices(5).tolist()
    assert len({len(rank) for rank in ranks}) == 1
    for number, rank in enumerate(ranks):
        judge: DistributedSampler = DistributedSampler(range(size), world_size, number, shuffle=False)  # type: ignore[arg-type]
        assert rank.indices(5).tolist() == [whole[index] for index in judge]
        assert torch.cat(rank.batches(5)).tolist() == rank.indices(5).tolist()
        assert len(rank.batches(5)) == len(rank)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 10, 64, 65])
def test_evaluation_sees_every_image_once_and_in_order(size: int, world_size: int) -> None:
    seen: list[int] = []
    for rank in range(world_size):
        batches = EvaluationBatches(size, 8, rank, world_size)
        got = [indices.tolist() for indices in batches]
        assert len(got) == len(batches)
        flat = [index for indices in got for index in indices]
        assert flat == sorted(flat)
        assert all(len(indices) <= 8 for indices in got)
        seen += flat
    assert sorted(seen) == list(range(size))


def test_seeds_differ_in_any_part_and_its_place() -> None:
    tuples: list[tuple[int | str, ...]] = [(a, b) for a in range(30) for b in range(30)]
    tuples += [(a,) for a in range(30)] + [("1", 1), (1, "1"), ("11",), (11, ""), ("permutation", 1, 1)]
    seeds = [derive_seed(*parts) for parts in tuples]
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)  # the CPU generator takes 32 bits of a seed
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_never_change() -> None:
    """Another number here would change every run there has been."""
    assert derive_seed("augmentation", 0, 1, 2) == 1_288_618_668_193_647_791
