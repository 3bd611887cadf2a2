"""Which images make up which batch: pure functions of (seed, epoch, rank), with no state but the epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ccnn.seeds import derive_seed

Place = tuple[int, int, Tensor]  # epoch, batch within the epoch, indices of its images


class TrainingBatches(Sampler[Place]):
    """Cuts a new permutation of the images into batches, each time it is iterated over: one epoch.

    With several processes, each takes every `world_size`-th image of the same permutation, which is
    continued from its beginning so that all get equally many (as torch's DistributedSampler does it).
    The last batch of an epoch may be smaller; one single image, on which batch norm cannot
    train, joins the batch before it instead.

    Args:
        size: number of images, N.
        batch_size: images per batch and process.
        seed: the permutation of an epoch follows from it and the epoch, and from nothing else.
        rank: number of this process.
        world_size: number of processes.
        start: (epoch, batch) of the first batch to yield. The first iteration yields the rest of that
            epoch, the next one the whole epoch after it.

    Example:
        >>> [(epoch, batch, len(indices)) for epoch, batch, indices in TrainingBatches(10, batch_size=4, seed=0)]
        [(0, 0, 4), (0, 1, 4), (0, 2, 2)]
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self._size = size
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._next = start

    def indices(self, epoch: int) -> Tensor:
        """The images that this process sees in `epoch`, in order: int64, shape (ceil(N / world_size),)."""
        generator = torch.Generator().manual_seed(derive_seed("permutation", self._seed, epoch))
        permutation = torch.randperm(self._size, generator=generator)
        missing = -self._size % self._world_size
        # Fewer images than processes need the permutation more than once.
        wrapped = permutation.repeat(1 + -(-missing // self._size))[: self._size + missing]
        return wrapped[self._rank :: self._world_size]

    def batches(self, epoch: int) -> list[Tensor]:
        """The batches of this process in `epoch`, each an int64 tensor of indices."""
        batches = list(self.indices(epoch).split(self._batch_size))
        if len(batches) > len(self):
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def __len__(self) -> int:
        """The number of batches in a whole epoch, the same in every process and wherever iteration starts."""
        count = -(-self._size // self._world_size)
        joins = self._batch_size > 1 and count > self._batch_size and count % self._batch_size == 1
        return -(-count // self._batch_size) - joins

    def __iter__(self) -> Iterator[Place]:
        """Yields (epoch, batch, indices) for the rest of one epoch, and moves on to the next."""
        # Moves on when the first batch is taken: not before, because a loader with workers makes two iterators
        # and uses one, and not at the end, because training may leave an epoch early.
        epoch, first = self._next
        self._next = (epoch + 1, 0)
        for batch, indices in list(enumerate(self.batches(epoch)))[first:]:
            yield epoch, batch, indices


class EvaluationBatches(Sampler[Tensor]):
    """Cuts the images into batches in their order; each process takes every `world_size`-th, none twice.

    Args:
        size, batch_size, rank, world_size: as of `TrainingBatches`.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self._indices = torch.arange(size)[rank::world_size]
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        if len(self._indices) == 0:
            return iter(())
        return iter(self._indices.split(self._batch_size))
