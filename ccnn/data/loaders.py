"""The data loaders around whole batches."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ccnn.data.batches import Place, TrainingBatches
from ccnn.data.split import Split


class TrainingBatch(NamedTuple):
    """A batch to train on, and its place, which decides how it is augmented.

    Attributes:
        images: uint8, shape (N, C, H, W).
        labels: int64, shape (N,).
        epoch: the epoch.
        batch: the number of the batch in the epoch.
    """

    images: Tensor
    labels: Tensor
    epoch: int
    batch: int


class TrainingSet(Dataset[TrainingBatch]):
    """Whole training batches of a split in memory."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, place: Place) -> TrainingBatch:
        epoch, batch, indices = place
        return TrainingBatch(*self._split.select(indices), epoch, batch)


class EvaluationSet(Dataset[Split]):
    """Whole batches of a split in memory to evaluate on."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, indices: Tensor) -> Split:
        return self._split.select(indices)


class _ResumableLoader(DataLoader):
    """Tells Lightning that training may resume in mid-epoch; the place is in the sampler, not in a state."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def resumable_loader(dataset: Dataset, batches: TrainingBatches, num_workers: int, pin_memory: bool) -> DataLoader:
    """Loads whole training batches of a data set that takes their places."""
    return _ResumableLoader(dataset, sampler=batches, **_options(num_workers, pin_memory))


def ordered_loader(dataset: Dataset, batches: Iterable[Tensor], num_workers: int, pin_memory: bool) -> DataLoader:
    """Loads whole batches of a data set that takes the indices of their images."""
    return DataLoader(dataset, sampler=batches, **_options(num_workers, pin_memory))


def _options(num_workers: int, pin_memory: bool) -> dict[str, Any]:
    return {
        "batch_size": None,  # the sampler yields whole batches
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        # Its own, because every iteration would draw a number from the global generator.
        "generator": torch.Generator(),
    }
