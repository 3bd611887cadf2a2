"""The test images that networks are scored on, and how they are prepared."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ccnn.data import FolderData, shape_of
from ccnn.data.crops import height_and_width
from ccnn.data.loaders import ordered_loader
from ccnn.data.module import ImageData
from ccnn.errors import UserError
from ccnn.evaluation.preprocessing import Preprocessing, preprocessing_of
from ccnn.training.build import build


@dataclass(frozen=True)
class ScoredImages:
    """A test set.

    Attributes:
        data: the data module, ready to test.
        input_size: (C, H, W) of an image.
        classes: number of classes.
        total: number of images.
        batch_size: of them, scored together.
        preprocessing: what is done to them.
    """

    data: Any
    input_size: tuple[int, int, int]
    classes: int
    total: int
    batch_size: int
    preprocessing: Preprocessing

    def spread(self, limit: int | None) -> Tensor:
        """Indices of all images, or of `limit` evenly spaced ones: a sorted set shows all its classes."""
        most = min(self.total, limit or self.total)
        return torch.arange(most) * self.total // most

    def batches(self, images: Tensor, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the images of the given indices and their labels, on a device and as networks see them."""
        loader = self.data.test_dataloader()
        if isinstance(self.data, ImageData):  # its data sets yield whole batches
            chosen = images.split(self.batch_size)
            loader = ordered_loader(loader.dataset, chosen, loader.num_workers, device.type == "cuda")
        elif len(images) < self.total:
            subset: Subset[Any] = Subset(loader.dataset, images.tolist())
            loader = DataLoader(
                subset, self.batch_size, num_workers=loader.num_workers, collate_fn=loader.collate_fn
            )
        for batch in loader:
            yield self.data.on_after_batch_transfer(self.data.transfer_batch_to_device(batch, device, 0), 0)


def find_images(config: DictConfig, run: Path | None) -> ScoredImages:
    """Builds the data module of a configuration and has it find its test set.

    Args:
        config: resolved.
        run: whose weights are scored; None for published weights, which want a preprocessing of their own.

    Raises:
        UserError: there are no such images, or a data module of the user's own does not say how many there are.
    """
    data = build(config, "data")
    data.prepare_data()
    if not isinstance(data, ImageData):
        data.setup("fit")  # the size of an image may have to be inferred from a training batch
        data.setup("test")
        return _of_users_data(data, config)
    data.setup("test")
    preprocessing = _preprocessing(config, data, run)
    size = (config.data.channels, *height_and_width(preprocessing.size))
    total = len(data.test_set.labels)
    return ScoredImages(data, size, config.data.num_classes, total, config.data.eval_batch_size, preprocessing)


def _of_users_data(data: Any, config: DictConfig) -> ScoredImages:
    shape, loader, name = shape_of(data, config.data), data.test_dataloader(), type(data).__name__
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "__len__") or not loader.batch_size:
        raise UserError(
            f"data: {name}.test_dataloader() gives no number of images; an evaluation needs a DataLoader with a "
            f"batch_size, over a data set with a length, got {type(loader).__name__}."
        )
    text = f"{'×'.join(map(str, shape.input_size[1:]))} pixels as {name} yields them"
    preprocessing = Preprocessing(_never, shape.input_size[1], text, None)
    return ScoredImages(
        data, shape.input_size, shape.num_classes, len(loader.dataset), loader.batch_size, preprocessing
    )


def _preprocessing(config: DictConfig, data: ImageData, run: Path | None) -> Preprocessing:
    """How the images are prepared; the data module takes over what published weights want."""
    size = config.data.image_size
    if not isinstance(data, FolderData):
        mean, std = (" ".join(f"{value:g}" for value in config.data[key]) for key in ("mean", "std"))
        return Preprocessing(_never, size, f"{size}×{size} pixels as stored, mean {mean}, std {std}", None)
    found = None if run else preprocessing_of(config.model, config.data)
    if found is not None:
        data.single_crop = found.prepare
        return found
    return Preprocessing(data.single_crop, config.data.crop or size, f"{data.single_crop}; as data.* says", None)


def _never(image: object) -> Tensor:
    raise NotImplementedError("these images are prepared batch by batch, by their data module")
