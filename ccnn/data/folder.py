"""The data module that reads photographs from folders, as ImageNet is laid out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ccnn.data.augment import normalise
from ccnn.data.batches import Place
from ccnn.data.crops import IMAGENET_MEAN, IMAGENET_STD, RandomCrop, SingleCrop, enlarged, height_and_width
from ccnn.data.image_files import available_cores, find, read
from ccnn.data.loaders import TrainingBatch
from ccnn.data.module import ImageData
from ccnn.data.split import Partition, Split
from ccnn.errors import UserError
from ccnn.seeds import derive_seed


class FolderData(ImageData):
    """Photographs in `root/train/<class>/` and `root/val/<class>/`, read and cropped by worker processes.

    In memory is the list of files: the `images` of a `Split` are numbers of files. The crop of a training image
    follows from (seed, epoch, number of its file) and nothing else. `val` is the test set.

    Args:
        name: of the data set, for people.
        root: the folder that holds train/ and val/.
        channels: 3.
        image_size: height and width of training crops, pixels; one number, or both.
        num_classes: number of class folders; labels follow their sorted names.
        resize: shorter side of a test image before its central crop, pixels. None: crop · 256/224.
        crop: height and width of that crop, pixels. None: `image_size`.
        mean: of red, green and blue, pixels from 0 to 1. None: ImageNet's.
        std: standard deviation, likewise.
        batch_size, eval_batch_size, seed: as of `ImageData`.
        augmentation: the arguments of `RandomCrop`.
        validation_fraction, split_seed, train_images, protocol: as of `Partition`.
        num_workers: processes that read images, each a whole batch at a time; at most one per core.

    Raises:
        UserError: if an argument is out of range; from `setup`, if the folders are not as described; while
            batches are taken, if a file cannot be read as an image.
    """

    def __init__(
        self,
        name: str,
        root: str,
        channels: int,
        image_size: int | Sequence[int],
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
        mean, std = mean or IMAGENET_MEAN, std or IMAGENET_STD
        for key, numbers in {"mean": mean, "std": std}.items():
            if len(numbers) != 3:
                raise UserError(f"data.{key} has {len(numbers)} numbers, expected one per channel: 3.")
        partition = Partition(validation_fraction, split_seed, train_images, protocol)
        # More workers than cores are slower, and torch warns; the result is the same.
        workers = min(num_workers, available_cores())
        super().__init__(mean, std, batch_size, eval_batch_size, partition, seed, workers)
        self._root, self._num_classes = Path(root).expanduser(), num_classes
        height, width = height_and_width(crop or image_size)
        side = min(height, width)
        if resize is not None and resize < side:
            raise UserError(f"data.resize is {resize}, expected at least the crop of {side} pixels taken from it.")
        self.random_crop = RandomCrop.from_config(height_and_width(image_size), augmentation)
        self.single_crop: Callable[[Image.Image], Tensor] = SingleCrop(
            resize or enlarged(side), height, tuple(mean), tuple(std), width=width
        )
        self._classes: tuple[str, ...] = ()
        self._paths: dict[str, list[str]] = {}

    def setup(self, stage: str | None = None) -> None:
        """Lists the files: of both halves, or for the stage `test` of val/ alone; none twice."""
        if self._test is None:
            self._test, self._classes = self._list("val")
        if stage == "test" or self._train is not None:
            return
        train, classes = self._list("train")
        if differing := sorted(set(self._classes) ^ set(classes)):
            raise UserError(
                f"data.root: {self._root}: train and val have different class folders: {differing[0]} "
                "is in only one."
            )
        self._divide(train, self._test)

    def _list(self, half: str) -> tuple[Split, tuple[str, ...]]:
        self._paths[half], labels, classes = find(self._root, half, self._num_classes)
        return Split(torch.arange(len(labels)), labels), classes

    def training_data(self) -> "TrainingImages":
        """Training batches of random crops."""
        return TrainingImages(self.train_set, self._paths["train"], self.random_crop, self._seed)

    def evaluation_data(self, split: Split) -> "EvaluationImages":
        """Batches of a half, each image prepared for the network."""
        return EvaluationImages(split, self._paths["val" if split is self._test else "train"], self.single_crop)

    def on_after_batch_transfer(
        self, batch: TrainingBatch | Split | UserError, dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Normalises a training batch; a batch to evaluate on is ready.

        Args:
            batch: from the loaders, or why there is none.
            dataloader_idx: not used.

        Returns:
            float32 images, shape (N, 3, H, W), and labels, shape (N,).

        Raises:
            UserError: a file cannot be read as an image.
        """
        if isinstance(batch, UserError):
            raise UserError(str(batch))  # a new one: error and frame would refer to each other and keep workers
        if isinstance(batch, TrainingBatch):
            return normalise(batch.images, self._mean, self._std), batch.labels
        return batch.images, batch.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the class folders, in the order of their labels."""
        return self._classes


class TrainingImages(Dataset[TrainingBatch | UserError]):
    """Whole batches of random crops.

    A file that is no image is handed on as the error itself: raised in a worker, it would reach the user with
    the worker's traceback in its message.
    """

    def __init__(self, split: Split, paths: list[str], crop: RandomCrop, seed: int) -> None:
        self._split, self._paths, self._crop, self._seed = split, paths, crop, seed

    def __getitem__(self, place: Place) -> TrainingBatch | UserError:
        epoch, batch, indices = place
        numbers, labels = self._split.select(indices)
        try:
            images = [self._cropped(epoch, number) for number in numbers.tolist()]
        except UserError as error:
            return error
        return TrainingBatch(torch.stack(images), labels, epoch, batch)

    def _cropped(self, epoch: int, number: int) -> Tensor:
        return self._crop(read(self._paths[number]), derive_seed("crop", self._seed, epoch, number))


class EvaluationImages(Dataset[Split | UserError]):
    """Whole batches of images, prepared for the network: float32, shape (N, 3, H, W)."""

    def __init__(self, split: Split, paths: list[str], prepare: Callable[[Image.Image], Tensor]) -> None:
        self._split, self._paths, self._prepare = split, paths, prepare

    def __getitem__(self, indices: Tensor) -> Split | UserError:
        numbers, labels = self._split.select(indices)
        try:
            images = [self._prepare(read(self._paths[number])) for number in numbers.tolist()]
        except UserError as error:
            return error
        return Split(torch.stack(images), labels)
