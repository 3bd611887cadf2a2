"""The Lightning data module that trains from tensors in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ccnn.data.augment import Augmentation, denormalise, normalise
from ccnn.data.batches import EvaluationBatches, TrainingBatches
from ccnn.data.class_names import CLASS_NAMES
from ccnn.data.loaders import EvaluationBatch, TrainingBatch, evaluation_loader, training_loader
from ccnn.data.sources import fetch, load
from ccnn.data.split import Split, check
from ccnn.errors import UserError
from ccnn.seeds import derive_seed


class InMemoryData(pl.LightningDataModule):
    """A data set as one uint8 tensor in memory; batches are augmented and normalised whole, on the device.

    The trainer must be built with `use_distributed_sampler=False`: the batches are cut per process here.

    Args:
        name: digits, mnist, fashion_mnist, cifar10 or cifar100.
        root: the folder that has the files, or that they are downloaded into.
        download: whether to download files that are missing.
        channels: C of the images.
        image_size: H and W of the images, pixels.
        num_classes: number of classes.
        mean: mean of each channel, of pixels from 0 to 1.
        std: standard deviation of each channel, likewise.
        batch_size: images per training batch and process.
        eval_batch_size: images per validation or test batch and process.
        augmentation: the arguments of `Augmentation`.
        validation_fraction: the part of the training set that is split off for validation, in [0, 1).
        split_seed: seed of that split, apart from `seed` so that all runs are validated on the same images.
        seed: seed of the run; order and augmentation follow from it.
        protocol: `honest`, or `paper`: nothing is split off, and the test set takes the validation set's place.
        num_workers: processes that pick the batches' images; 0, in the main process, is usually fastest.
        train_images: how many of the images left for training are trained on. `split_seed` alone draws them: all
            runs have the same ones, and fewer are among more. None: all.

    Raises:
        UserError: if an argument is out of range; from `prepare_data` and `setup`, if the data are missing,
            damaged, or differ from what the arguments say.
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
        super().__init__()
        for key, size in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if size < 1:
                raise UserError(f"data.{key} is {size}, expected 1 or more images.")
        if not 0 <= validation_fraction < 1:
            raise UserError(
                f"data.validation_fraction is {validation_fraction}, expected at least 0 and less than 1; "
                "0 splits nothing off."
            )
        if train_images is not None and train_images < 1:
            raise UserError(f"data.train_images is {train_images}, expected 1 or more, or null for all.")
        for key, numbers in {"mean": mean, "std": std}.items():
            if len(numbers) != channels:
                raise UserError(f"data.{key} has {len(numbers)} numbers, expected one per channel: {channels}.")
        if min(std) <= 0:
            raise UserError(f"data.std is {list(std)}, expected numbers above 0, which pixels are divided by.")
        expected = set(Augmentation.__dataclass_fields__)
        if set(augmentation) != expected:
            raise UserError(
                f"data.augmentation has the keys {sorted(augmentation)}, expected exactly {sorted(expected)}."
            )
        self.augmentation = Augmentation(**augmentation)
        self._name, self._root, self._download = name, Path(root).expanduser(), download
        self._channels, self._image_size, self._num_classes = channels, image_size, num_classes
        self._mean, self._std = tuple(mean), tuple(std)
        self._batch_size, self._eval_batch_size = batch_size, eval_batch_size
        self._validation_fraction, self._split_seed = validation_fraction, split_seed
        self._seed, self._num_workers, self._protocol = seed, num_workers, protocol
        self._train_images = train_images
        self._train: Split | None = None
        self._validation: Split | None = None
        self._test: Split | None = None

    def prepare_data(self) -> None:
        """Downloads what is missing, once per machine."""
        fetch(self._name, self._root, self._download)

    def setup(self, stage: str | None = None) -> None:
        """Reads the data set and splits the validation set off; a second call does nothing."""
        if self._test is not None:
            return
        train, test, origin = load(self._name, self._root)
        for split, half in ((train, "training"), (test, "test")):
            check(split, f"The {half} set in {origin}", self._channels, self._image_size, self._num_classes)
        self._train, self._validation = self._divide(train, test)
        self._test = test
        self.check_batch_size(self._world_size)

    def check_batch_size(self, processes: int) -> None:
        """Once the data is read, and again when the number of processes is known.

        Raises:
            UserError: a batch is larger than what a process has.
        """
        images = len(self.train_set.labels)
        per_process = -(-images // processes)
        if self._batch_size > per_process:
            raise UserError(
                f"data.batch_size is {self._batch_size}, but each process has {per_process} training images "
                f"({images} in all, processes: {processes}). "
                f"Set data.batch_size to {per_process} at most."
            )

    @property
    def train_set(self) -> Split:
        """The training set without the validation set, as read."""
        return _loaded(self._train)

    @property
    def validation_set(self) -> Split | None:
        """The validation set, as read; None if nothing is split off; the test set with `protocol=paper`."""
        _loaded(self._train)
        return self._validation

    @property
    def test_set(self) -> Split:
        """The test set, as read."""
        return _loaded(self._test)

    def train_dataloader(self) -> DataLoader:
        """Training batches from where the trainer stands: the beginning, or where a resumed run stopped."""
        self.check_batch_size(self._world_size)
        return training_loader(self.train_set, self._training_batches(self._start()), self._num_workers, self._pin)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Validation batches; the empty list if nothing is split off."""
        return [] if self.validation_set is None else self._evaluation_loader(self.validation_set)

    def test_dataloader(self) -> DataLoader:
        """Test batches."""
        return self._evaluation_loader(self.test_set)

    def on_after_batch_transfer(
        self, batch: TrainingBatch | EvaluationBatch, dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Augments a training batch, normalises any batch.

        Args:
            batch: uint8 images (N, C, H, W), labels (N,) and, for training, the epoch and the batch in it.
            dataloader_idx: not used.

        Returns:
            float32 images, shape (N, C, H, W), and labels, shape (N,).
        """
        images = batch.images
        if isinstance(batch, TrainingBatch):
            parts = (self._seed, batch.epoch, batch.batch, self._rank)
            images = self.augmentation(images, torch.Generator().manual_seed(derive_seed("augmentation", *parts)))
        return normalise(images, self._mean, self._std), batch.labels

    def training_batch(self, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """What the network sees as the given batch of the given epoch: float32 images and labels."""
        indices = self._training_batches((epoch, batch)).batches(epoch)[batch]
        return self.on_after_batch_transfer(TrainingBatch(*self.train_set.select(indices), epoch, batch), 0)

    def pixels(self, images: Tensor) -> Tensor:
        """Images as the network sees them, float (N, C, H, W), as uint8 pixels to look at."""
        return denormalise(images, self._mean, self._std)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, in the order of their labels."""
        return CLASS_NAMES.get(self._name, tuple(map(str, range(self._num_classes))))

    def _divide(self, train: Split, test: Split) -> tuple[Split, Split | None]:
        """The images to train and to validate on; one permutation, of `split_seed` alone, decides on both."""
        count = len(train.labels)
        generator = torch.Generator().manual_seed(derive_seed("validation", self._split_seed))
        permutation = torch.randperm(count, generator=generator)
        validation, rest = permutation.tensor_split([self._validation_count(count)])
        if self._train_images is not None and self._train_images > len(rest):
            raise UserError(
                f"data.train_images is {self._train_images}, but there are {len(rest)} images to train on "
                f"({count} without the validation set). Set data.train_images to {len(rest)} at most, or to null "
                "for all."
            )
        chosen = train.select(rest[: self._train_images].sort().values)
        if self._protocol == "paper":
            return chosen, test
        return chosen, train.select(validation.sort().values) if len(validation) else None

    def _validation_count(self, count: int) -> int:
        """How many of the images are split off for validation."""
        if self._protocol == "paper" or self._validation_fraction == 0:
            return 0
        validation_count = round(count * self._validation_fraction)
        if not 0 < validation_count < count:
            raise UserError(
                f"data.validation_fraction is {self._validation_fraction}, which splits off "
                f"{validation_count} of {count} images, expected at least 1 for either."
            )
        return validation_count

    def _training_batches(self, start: tuple[int, int]) -> TrainingBatches:
        size = len(self.train_set.labels)
        return TrainingBatches(size, self._batch_size, self._seed, self._rank, self._world_size, start)

    def _evaluation_loader(self, split: Split) -> DataLoader:
        batches = EvaluationBatches(len(split.labels), self._eval_batch_size, self._rank, self._world_size)
        return evaluation_loader(split, batches, self._num_workers, self._pin)

    def _start(self) -> tuple[int, int]:
        """(epoch, batch) to go on from.

        The trainer's count of processed batches is right at every moment a checkpoint can be written.
        `trainer.global_step` counts optimizer steps, fewer than batches when gradients are accumulated, and
        `trainer.current_epoch` is one behind here when a run resumes at the end of an epoch.
        """
        if self.trainer is None:
            return 0, 0
        per_epoch = len(self._training_batches((0, 0)))
        limit = self.trainer.limit_train_batches  # a number of batches, or a part of the epoch
        per_epoch = min(per_epoch, limit) if isinstance(limit, int) else int(per_epoch * limit)
        if per_epoch == 0:
            return 0, 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return divmod(progress.processed, per_epoch)

    @property
    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    @property
    def _pin(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def _loaded(split: Split | None) -> Split:
    if split is None:
        raise RuntimeError("The data are not loaded yet: call prepare_data() and setup() first.")
    return split
