"""Finds and reads the image files of a folder in ImageNet's layout: one folder per class."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from ccnn.errors import UserError


def find(root: Path, half: str, num_classes: int) -> tuple[list[str], Tensor, tuple[str, ...]]:
    """Lists the images below `root/half/<class>/`; hidden files and files of other types are skipped.

    Args:
        root: `data.root`.
        half: train or val.
        num_classes: `data.num_classes`, the expected number of class folders.

    Returns:
        N paths, their labels (int64, shape (N,)), and the sorted names of the class folders.

    Raises:
        UserError: a folder is missing or has no images, or there are too many or too few classes.
    """
    folder = root / half
    if not folder.is_dir():
        lacks = f"there is no folder {half} in it" if root.is_dir() else "there is no such folder"
        raise UserError(f"data.root: {root}: {lacks}; expected images in {folder}/<class folder>/*.JPEG.")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise UserError(
            f"{folder}: holds no class folders, expected {num_classes}, each with the images of a class; those of "
            "ImageNet's validation archive have to be sorted into such folders first."
        )
    if len(classes) != num_classes:
        raise UserError(
            f"{folder}: holds {len(classes)} class folders, data.num_classes is {num_classes}. Point data.root at "
            f"the whole data set, or set data.num_classes={len(classes)} for a network with as many classes."
        )
    numbers = {name: number for number, name in enumerate(classes)}
    try:
        samples = make_dataset(str(folder), numbers, is_valid_file=_is_image)
    except FileNotFoundError as error:
        raise UserError(f"{folder}: {error}. Expected {', '.join(IMG_EXTENSIONS)} files.") from error
    paths, labels = zip(*samples, strict=True)
    return list(paths), torch.tensor(labels), tuple(classes)


def _is_image(path: str) -> bool:
    name = os.path.basename(path).lower()
    return name.endswith(IMG_EXTENSIONS) and not name.startswith(".")


def read(path: str) -> Image.Image:
    """Reads an image as red, green and blue; 16-bit grey values are scaled to 8 bits.

    Raises:
        UserError: it cannot be read as an image, or its values have no known range.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):
                values = np.asarray(image).astype(np.uint32)
                grey = ((values + 128) // 257).astype(np.uint8)  # 65535 / 257 = 255
                return Image.fromarray(grey).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(
                    f"its mode is {image.mode}, 32-bit values without a range; save it with 8 or 16 bits"
                )
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "its content is none" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(f"{path}: cannot be read as an image: {reason}. Replace the file.") from error


def available_cores() -> int:
    """Cores that this process may use; Slurm and taskset give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
