"""Data sets in memory, with all that is random about them a function of (seed, epoch, batch, rank)."""

from ccnn.data.augment import Augmentation, normalise
from ccnn.data.batches import EvaluationBatches, TrainingBatches
from ccnn.data.module import InMemoryData
from ccnn.data.sources import NAMES, fetch, load
from ccnn.data.split import Split

__all__ = [
    "NAMES",
    "Augmentation",
    "EvaluationBatches",
    "InMemoryData",
    "Split",
    "TrainingBatches",
    "fetch",
    "load",
    "normalise",
]
