"""What data modules of images in memory and in folders share: order, resuming, and shares of processes."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ccnn.data.augment import denormalise
from ccnn.data.batches import EvaluationBatches, TrainingBatches
from ccnn.data.loaders import ordered_loader, resumable_loader
from ccnn.data.split import Partition, Split
from ccnn.errors import UserError


class ImageData(pl.LightningDataModule):
    """Batches that follow from (seed, epoch, batch, rank) alone, so that a run resumes at any of them.

    The trainer must be built with `use_distributed_sampler=False`: the batches are cut per process here. A
    subclass says in `setup` what the halves are, and which data sets yield batches of them.

    Args:
        mean: mean of each channel, of pixels from 0 to 1.
        std: standard deviation of each channel, likewise.
        batch_size: images per training batch and process.
        eval_batch_size: images per validation or test batch and process.
        partition: what is trained and validated on.
        seed: of the run; order and augmentation follow from it.
        num_workers: processes that prepare batches.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        eval_batch_size: int,
        partition: Partition,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__()
        for key, size in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if size < 1:
                raise UserError(f"data.{key} is {size}, expected 1 or more images.")
        if min(std) <= 0:
            raise UserError(f"data.std is {list(std)}, expected numbers above 0, which pixels are divided by.")
        self._mean, self._std = tuple(mean), tuple(std)
        self._batch_size, self._eval_batch_size = batch_size, eval_batch_size
        self._partition, self._seed, self._num_workers = partition, seed, num_workers
        self._train: Split | None = None
        self._validation: Split | None = None
        self._test: Split | None = None

    def training_data(self) -> Dataset:
        """The data set that yields training batches at their places."""
        raise NotImplementedError

    def evaluation_data(self, split: Split) -> Dataset:
        """The data set that yields batches of the images at given indices of a half."""
        raise NotImplementedError

    def _divide(self, train: Split, test: Split) -> None:
        self._train, self._validation = self._partition.divide(train, test)
        self._test = test
        self.check_batch_size(self._world_size)

    def check_batch_size(self, processes: int) -> None:
        """Raises if a process has fewer images than a batch; `processes` may be known only after `setup`."""
        images = len(self.train_set.labels)
        per_process = -(-images // processes)
        if self._batch_size > per_process:
            raise UserError(
                f"data.batch_size is {self._batch_size}, but each process has {per_process} training images "
                f"({images} in all, processes: {processes}). Set data.batch_size to {per_process} at most."
            )

    @property
    def train_set(self) -> Split:
        """The images to train on."""
        return _loaded(self._train)

    @property
    def validation_set(self) -> Split | None:
        """The images to validate on; None if there are none; the test set with `protocol=paper`."""
        _loaded(self._train)
        return self._validation

    @property
    def test_set(self) -> Split:
        """The images to test on."""
        return _loaded(self._test)

    def train_dataloader(self) -> DataLoader:
        """Training batches from where the trainer stands: the beginning, or where a resumed run stopped."""
        self.check_batch_size(self._world_size)
        batches = self._training_batches(self._start())
        return resumable_loader(self.training_data(), batches, self._num_workers, self._pin)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Validation batches; the empty list if there are no validation images."""
        return [] if self.validation_set is None else self._evaluation_loader(self.validation_set)

    def test_dataloader(self) -> DataLoader:
        """Test batches."""
        return self._evaluation_loader(self.test_set)

    def training_batch(self, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """What the network sees as the given batch of the given epoch: float32 images and labels."""
        indices = self._training_batches((epoch, batch)).batches(epoch)[batch]
        network_input: tuple[Tensor, Tensor] = self.on_after_batch_transfer(
            self.training_data()[epoch, batch, indices], 0
        )
        return network_input

    def pixels(self, images: Tensor) -> Tensor:
        """Images as the network sees them, float (N, C, H, W), as uint8 pixels to look at."""
        return denormalise(images, self._mean, self._std)

    def _training_batches(self, start: tuple[int, int]) -> TrainingBatches:
        size = len(self.train_set.labels)
        return TrainingBatches(size, self._batch_size, self._seed, self._rank, self._world_size, start)

    def _evaluation_loader(self, split: Split) -> DataLoader:
        batches = EvaluationBatches(len(split.labels), self._eval_batch_size, self._rank, self._world_size)
        return ordered_loader(self.evaluation_data(split), batches, self._num_workers, self._pin)

    def _start(self) -> tuple[int, int]:
        """(epoch, batch) to resume from.

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
