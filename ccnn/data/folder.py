"""The Lightning data module that reads photographs from folders, as ImageNet is laid out."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ccnn.data.augment import normalise
from ccnn.data.batches import EvaluationBatches, Place
from ccnn.data.crops import IMAGENET_MEAN, IMAGENET_STD, RandomCrop, SingleCrop
from ccnn.data.image_files import ImageFiles, find, read
from ccnn.data.loaders import EvaluationBatch, TrainingBatch, ordered_loader, resumable_loader
from ccnn.data.module import InMemoryData
from ccnn.data.split import Split
from ccnn.errors import UserError
from ccnn.seeds import derive_seed


class FolderData(InMemoryData):
    """Photographs in `root/train/<class>/` and `root/val/<class>/`, read and cropped by worker processes.

    What is in memory is the list of files: the `images` of a `Split` are numbers of files here, shape (N,), so
    that order, validation split, shares of processes and resuming are those of `InMemoryData`. The draws of a
    training image follow from (seed, epoch, number of its file) and from nothing else. `val` is the test set.

    Args:
        name: of the data set, for people.
        root: the folder that holds train/ and val/.
        channels: 3.
        image_size: height and width of training crops, pixels.
        num_classes: number of class folders; labels follow their sorted names.
        resize: shorter side of a test image before its central crop, pixels. None: crop · 256/224.
        crop: height and width of that crop, pixels. None: `image_size`.
        mean: of red, green and blue, pixels from 0 to 1. None: ImageNet's.
        std: standard deviation, likewise.
        batch_size: images per training batch and process.
        eval_batch_size: images per validation or test batch and process.
        augmentation: the arguments of `RandomCrop`.
        validation_fraction: the part of the training set that is split off for validation, in [0, 1).
        split_seed: seed of that split.
        seed: seed of the run; order and augmentation follow from it.
        protocol: `honest`, or `paper`: nothing is split off, and the test set takes the validation set's place.
        num_workers: processes that read images, each a whole batch at a time; no more than there are cores.
        train_images: how many of the images left for training are trained on, drawn once with `split_seed`; None:
            all.

    Raises:
        UserError: if an argument is out of range; from `setup`, if the folders are not as described; while
            batches are taken, if a file is no image.
    """

    def __init__(
        self,
        name: str,
        root: str,
        channels: int,
        image_size: int,
        num_classes: int,
        resize: int | None,
        crop: int | None,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
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
        if channels != 3:
            raise UserError(f"data.channels is {channels}, but photographs are read as 3: red, green, blue.")
        expected = set(RandomCrop.__dataclass_fields__)
        if set(augmentation) != expected:
            raise UserError(
                f"data.augmentation has the keys {sorted(augmentation)}, expected exactly {sorted(expected)}."
            )
        super().__init__(
            name=name,
            root=root,
            download=False,
            channels=channels,
            image_size=image_size,
            num_classes=num_classes,
            mean=mean or IMAGENET_MEAN,
            std=std or IMAGENET_STD,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            augmentation={"crop_padding": 0, "flip": False, "rotation": 0},  # images are cropped one by one here
            validation_fraction=validation_fraction,
            split_seed=split_seed,
            seed=seed,
            num_workers=min(num_workers, _cores()),  # torch warns of more; the result is the same
            protocol=protocol,
            train_images=train_images,
        )
        side = crop or image_size
        shorter = resize or round(side * 256 / 224)
        if shorter < side:
            raise UserError(
                f"data.resize is {shorter}, expected at least the crop of {side} pixels taken from it."
            )
        self.random_crop = RandomCrop(**augmentation)
        self.single_crop: Callable[[Image.Image], Tensor] = SingleCrop(shorter, side, self._mean, self._std)
        self._classes: tuple[str, ...] = ()
        self._files: dict[str, ImageFiles] = {}

    def prepare_data(self) -> None:
        """Nothing is downloaded."""

    def setup(self, stage: str | None = None) -> None:
        """Lists the files: of both halves, or for the stage `test` of val/ alone; none twice."""
        if self._test is None:
            self._files["val"] = find(self._root, "val", self._num_classes)
            self._classes = self._files["val"].classes
            self._test = _numbered(self._files["val"])
        if stage == "test" or self._train is not None:
            return
        self._files["train"] = find(self._root, "train", self._num_classes)
        if differing := sorted(set(self._classes) ^ set(self._files["train"].classes)):
            raise UserError(
                f"data.root: {self._root}: train and val have other class folders: {differing[0]} is in one only."
            )
        train = _numbered(self._files["train"])
        self._train, self._validation = self._divide(train, self._test)
        self.check_batch_size(self._world_size)

    def train_dataloader(self) -> DataLoader:
        """Training batches from where the trainer stands: the beginning, or where a resumed run stopped."""
        self.check_batch_size(self._world_size)
        return resumable_loader(
            self._training_images(), self._training_batches(self._start()), self._num_workers, self._pin
        )

    def _training_images(self) -> "_TrainingImages":
        paths, size = self._files["train"].paths, self._image_size
        return _TrainingImages(self.train_set, paths, self.random_crop, size, self._seed)

    def _evaluation_loader(self, split: Split) -> DataLoader:
        files = self._files["val" if split is self._test else "train"]
        batches = EvaluationBatches(len(split.labels), self._eval_batch_size, self._rank, self._world_size)
        images = _EvaluationImages(split, files.paths, self.single_crop)
        return ordered_loader(images, batches, self._num_workers, self._pin)

    def on_after_batch_transfer(
        self, batch: TrainingBatch | EvaluationBatch | UserError, dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Normalises a training batch; a batch to evaluate on is ready.

        Args:
            batch: from the loaders, or why there is none.
            dataloader_idx: not used.

        Returns:
            float32 images, shape (N, 3, H, W), and labels, shape (N,).

        Raises:
            UserError: a file is no image.
        """
        if isinstance(batch, UserError):
            raise UserError(str(batch))  # a new one, or error and frame would refer to each other and keep workers
        if isinstance(batch, TrainingBatch):
            return normalise(batch.images, self._mean, self._std), batch.labels
        return batch.images, batch.labels

    def training_batch(self, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """What the network sees as the given batch of the given epoch: float32 images and labels."""
        indices = self._training_batches((epoch, batch)).batches(epoch)[batch]
        return self.on_after_batch_transfer(self._training_images()[epoch, batch, indices], 0)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the class folders, in the order of their labels."""
        return self._classes


class _TrainingImages(Dataset[TrainingBatch | UserError]):
    """Whole batches of random crops.

    A file that is no image is handed on as the error itself: raised in a worker it would reach the user with
    the worker's traceback in its message.
    """

    def __init__(self, split: Split, paths: list[str], crop: RandomCrop, size: int, seed: int) -> None:
        self._split, self._paths, self._crop, self._size, self._seed = split, paths, crop, size, seed

    def __getitem__(self, place: Place) -> TrainingBatch | UserError:
        epoch, batch, indices = place
        numbers, labels = self._split.select(indices)
        try:
            images = [self._cropped(epoch, number) for number in numbers.tolist()]
        except UserError as error:
            return error
        return TrainingBatch(torch.stack(images), labels, epoch, batch)

    def _cropped(self, epoch: int, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed("crop", self._seed, epoch, number))
        return self._crop(read(self._paths[number]), self._size, generator)


class _EvaluationImages(Dataset[EvaluationBatch | UserError]):
    """Whole batches of test images, prepared for the network."""

    def __init__(self, split: Split, paths: list[str], prepare: Callable[[Image.Image], Tensor]) -> None:
        self._split, self._paths, self._prepare = split, paths, prepare

    def __getitem__(self, indices: Tensor) -> EvaluationBatch | UserError:
        numbers, labels = self._split.select(indices)
        try:
            images = [self._prepare(read(self._paths[number])) for number in numbers.tolist()]
        except UserError as error:
            return error
        return EvaluationBatch(torch.stack(images), labels)


def _numbered(files: ImageFiles) -> Split:
    return Split(torch.arange(len(files.labels)), files.labels)


def _cores() -> int:
    """Those that this process may use: SLURM and taskset give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
