"""The data module of sets that fit into memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ccnn.data.augment import Augmentation, normalise
from ccnn.data.class_names import CLASS_NAMES
from ccnn.data.loaders import EvaluationSet, TrainingBatch, TrainingSet
from ccnn.data.module import ImageData
from ccnn.data.sources import fetch, load
from ccnn.data.split import Partition, Split, check
from ccnn.errors import UserError
from ccnn.seeds import derive_seed


class InMemoryData(ImageData):
    """A data set as one uint8 tensor in memory; batches are augmented and normalised whole, on the device.

    Args:
        name: digits, mnist, fashion_mnist, cifar10 or cifar100.
        root: the folder that has the files, or that they are downloaded into.
        download: whether to download files that are missing.
        channels: C of the images.
        image_size: H and W of the images, pixels.
        num_classes: number of classes.
        mean, std, batch_size, eval_batch_size, seed: as of `ImageData`.
        augmentation: the arguments of `Augmentation`.
        validation_fraction, split_seed, train_images, protocol: as of `Partition`.
        num_workers: processes that pick the batches' images; 0, in the main process, is usually fastest.

    Raises:
        UserError: if an argument is out of range; from `prepare_data` and `setup`, if the data are missing,
            damaged, or differ from what the arguments say.

    Example:
        >>> data = InMemoryData(
        ...     "digits", root="data", download=False, channels=1, image_size=16, num_classes=10, mean=[0.3],
        ...     std=[0.3], batch_size=32, eval_batch_size=100, validation_fraction=0.1, split_seed=0, seed=0,
        ...     num_workers=0, augmentation={"crop_padding": 1, "flip": False, "rotation": 10.0},
        ... )
        >>> data.setup("fit")
        >>> images, labels = data.training_batch(epoch=0, batch=0)
        >>> tuple(images.shape), len(data.validation_set.labels)
        ((32, 1, 16, 16), 130)
    """

    def __init__(
        self,
        name: str,
        root: str,
        download: bool,
        channels: int,
        image_size: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        eval_batch_size: int,
        augmentation: Mapping[str, Any],
        validation_fraction: float,
        split_seed: int,
        seed: int,
        num_workers: int,
        protocol: Literal["honest", "paper"] = "honest",
        train_images: int | None = None,
    ) -> None:
        for key, numbers in {"mean": mean, "std": std}.items():
            if len(numbers) != channels:
                raise UserError(f"data.{key} has {len(numbers)} numbers, expected one per channel: {channels}.")
        partition = Partition(validation_fraction, split_seed, train_images, protocol)
        super().__init__(mean, std, batch_size, eval_batch_size, partition, seed, num_workers)
        self.augmentation = Augmentation.from_config(augmentation)
        self._name, self._root, self._download = name, Path(root).expanduser(), download
        self._shape = channels, image_size, num_classes

    def prepare_data(self) -> None:
        """Downloads what is missing, once per machine."""
        fetch(self._name, self._root, self._download)

    def setup(self, stage: str | None = None) -> None:
        """Reads the data set and splits the validation set off; a second call does nothing."""
        if self._test is not None:
            return
        train, test, origin = load(self._name, self._root)
        check(train, f"The training set in {origin}", *self._shape)
        check(test, f"The test set in {origin}", *self._shape)
        self._divide(train, test)

    def training_data(self) -> TrainingSet:
        """Training batches as they are stored."""
        return TrainingSet(self.train_set)

    def evaluation_data(self, split: Split) -> EvaluationSet:
        """Batches of a half as they are stored."""
        return EvaluationSet(split)

    def on_after_batch_transfer(self, batch: TrainingBatch | Split, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Augments a training batch, normalises any batch.

        Args:
            batch: uint8 images (N, C, H, W), labels (N,) and, for training, the epoch and the batch in it.
            dataloader_idx: not used.

        Returns:
            float32 images, shape (N, C, H, W), and labels, shape (N,).
        """
        images = batch.images
        if isinstance(batch, TrainingBatch):
            seed = derive_seed("augmentation", self._seed, batch.epoch, batch.batch, self._rank)
            images = self.augmentation(images, torch.Generator().manual_seed(seed))
        return normalise(images, self._mean, self._std), batch.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, in the order of their labels."""
        return CLASS_NAMES.get(self._name, tuple(map(str, range(self._shape[2]))))
