"""Data sets in memory or in folders, whose randomness is a function of (seed, epoch, batch or image, rank)."""

from ccnn.data.augment import Augmentation, normalise
from ccnn.data.batches import EvaluationBatches, TrainingBatches
from ccnn.data.folder import FolderData
from ccnn.data.memory import InMemoryData
from ccnn.data.protocol import DataModule, DataShape, shape_of
from ccnn.data.sources import NAMES, fetch, load
from ccnn.data.split import Split

__all__ = [
    "NAMES",
    "Augmentation",
    "DataModule",
    "DataShape",
    "EvaluationBatches",
    "FolderData",
    "InMemoryData",
    "Split",
    "TrainingBatches",
    "fetch",
    "load",
    "normalise",
    "shape_of",
]
