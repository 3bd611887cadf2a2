"""Finds and reads the image files of a folder in ImageNet's layout: one folder per class."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ccnn.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ImageFiles:
    """The files of the training or the test half, class by class.

    Attributes:
        paths: N files.
        labels: int64, shape (N,): the number of the file's class in `classes`.
        classes: names of the class folders, sorted.
    """

    paths: list[str]
    labels: Tensor
    classes: tuple[str, ...]


def find(root: Path, half: str, num_classes: int) -> ImageFiles:
    """Lists `root/half/<class>/<image>`; hidden files are passed over.

    Args:
        root: `data.root`.
        half: train or val.
        num_classes: `data.num_classes`, the expected number of class folders.

    Raises:
        UserError: a folder is missing or empty, a file is no image by its name, or the classes are
            too many or too few.
    """
    place = root / half
    if not place.is_dir():
        lacks = f"there is no folder {half} in it" if root.is_dir() else "there is no such folder"
        raise UserError(f"data.root: {root}: {lacks}; expected images in {place}/<class folder>/*.JPEG.")
    classes = sorted(entry.name for entry in _visible(place) if entry.is_dir())
    if not classes:
        raise UserError(
            f"{place}: holds no class folders, expected {num_classes}, each with the images of a class; those of "
            "ImageNet's validation archive have to be sorted into such folders first."
        )
    if len(classes) != num_classes:
        raise UserError(
            f"{place}: holds {len(classes)} class folders, data.num_classes is {num_classes}. Point data.root at "
            f"the whole data set, or set data.num_classes={len(classes)} for a network of as many classes."
        )
    paths: list[str] = []
    counts = []
    for name in classes:
        files = sorted(_visible(place / name), key=lambda entry: entry.name)
        for entry in files:
            if not entry.name.lower().endswith(SUFFIXES) or entry.is_dir():
                raise UserError(f"{entry.path}: is no image by its name; expected {', '.join(SUFFIXES)} only.")
        if not files:
            raise UserError(f"{place / name}: is empty, expected images of this class.")
        paths += [entry.path for entry in files]
        counts.append(len(files))
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(counts))
    return ImageFiles(paths, labels, tuple(classes))


def read(path: str) -> Image.Image:
    """Reads an image as red, green and blue.

    Raises:
        UserError: it is no image, or a damaged one.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "its content is none" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(f"{path}: cannot be read as an image: {reason}. Replace the file.") from error


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
