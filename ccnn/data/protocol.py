"""What a data module must offer to be trained on, and what is inferred from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ccnn.errors import UserError


class DataModule(Protocol):
    """The methods that training calls; any `LightningDataModule` with these loaders will do.

    A batch is a pair of float images, shape (N, C, H, W), and integer classes, shape (N,). Images may have any
    height and width. Several labels per image are out of scope.

    Everything else is optional: `val_dataloader`, without which the last epoch is tested; `num_classes` or
    `class_names`, unless the configuration has `data.num_classes`; `pixels(images)`, which undoes the
    normalisation for pictures.
    """

    def prepare_data(self) -> None: ...

    def setup(self, stage: str) -> None: ...

    def train_dataloader(self) -> Any: ...

    def test_dataloader(self) -> Any: ...


@dataclass(frozen=True)
class DataShape:
    """What a network needs to know of the data.

    Attributes:
        input_size: (C, H, W) of an image.
        num_classes: number of classes.
        train_images: images trained on; None if the data module does not say.
    """

    input_size: tuple[int, int, int]
    num_classes: int
    train_images: int | None


def shape_of(data: Any, given: Mapping[str, Any]) -> DataShape:
    """Infers images and classes, from the configuration where it says so, else from the data themselves.

    Args:
        data: a data module after `setup("fit")`.
        given: the group `data` of the configuration; `channels`, `image_size` (pixels, or [height, width]) and
            `num_classes` come first.

    Raises:
        UserError: a loader is missing, a batch is not as `DataModule` describes it, or the number of classes is
            neither given nor known to the data module.

    Example:
        >>> class Noise:
        ...     num_classes = 5
        ...     def train_dataloader(self):
        ...         return [(torch.zeros(2, 3, 24, 32), torch.tensor([0, 4]))]
        ...     test_dataloader = train_dataloader
        >>> shape_of(Noise(), {})
        DataShape(input_size=(3, 24, 32), num_classes=5, train_images=None)
    """
    name = type(data).__name__
    for loader in ("train_dataloader", "test_dataloader"):
        if not callable(getattr(data, loader, None)):
            raise UserError(f"data: {name} has no {loader}(); training needs it, see ccnn.data.DataModule.")
    size = given.get("image_size")
    if given.get("channels") and size:
        height, width = (size, size) if isinstance(size, int) else size
        images = (int(given["channels"]), int(height), int(width))
    else:
        images = _first_images(data, name)
    classes = given.get("num_classes") or getattr(data, "num_classes", None)
    classes = classes or len(getattr(data, "class_names", ()))
    if not classes:
        raise UserError(f"data.num_classes: is not given and {name} has no num_classes; add data.num_classes=….")
    return DataShape(images, int(classes), _train_images(data))


def _first_images(data: Any, name: str) -> tuple[int, int, int]:
    with torch.random.fork_rng(devices=[]):  # a loader that shuffles draws from the global generator
        batch = next(iter(data.train_dataloader()), None)
    if hasattr(data, "on_after_batch_transfer"):
        batch = data.on_after_batch_transfer(batch, 0)
    images, labels = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (None, None)
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        raise UserError(f"data: {name} yields batches that are not (float images (N, C, H, W), classes (N,)).")
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        raise UserError(
            f"data: {name} yields labels that are not one integer class per image, shape (N,); several labels per "
            "image are out of scope."
        )
    return int(images.shape[1]), int(images.shape[2]), int(images.shape[3])


def _train_images(data: Any) -> int | None:
    own = getattr(data, "train_set", None)
    if own is not None:
        return len(getattr(own, "labels", own))
    try:
        return len(data.train_dataloader().dataset)
    except (AttributeError, TypeError):
        return None
