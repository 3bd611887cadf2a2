"""Reads the IDX files of MNIST and Fashion-MNIST, plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ccnn.data.split import Split
from ccnn.errors import UserError

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
NAMES = _TRAIN + _TEST


def files(directory: Path) -> list[Path]:
    """The four files of a data set in `directory`, each plain if there is such a file, else gzipped."""
    plain = [directory / name for name in NAMES]
    return [path if path.is_file() else path.with_name(f"{path.name}.gz") for path in plain]


def read(directory: Path) -> tuple[Split, Split]:
    """Reads (train, test) from the four files in `directory`.

    Raises:
        UserError: for a file that is not IDX, is cut off or too long, or has no label for each image.
    """
    train_images, train_labels, test_images, test_labels = files(directory)
    return _read_split(train_images, train_labels), _read_split(test_images, test_labels)


def _read_split(images_path: Path, labels_path: Path) -> Split:
    images, labels = read_array(images_path, dimensions=3), read_array(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} labels; "
            "expected as many of one as of the other. Replace both with files that belong together."
        )
    return Split(images.unsqueeze(1), labels.long())


def read_array(path: Path, dimensions: int) -> Tensor:
    """Reads one IDX file of bytes: magic number, sizes as big-endian 32-bit integers, then the content.

    torchvision reads plain files alone; Debian's Fashion-MNIST is gzipped.

    Args:
        path: the file; gzipped if its name ends in .gz.
        dimensions: how many sizes are expected, 3 for images (N, H, W) and 1 for labels (N,).

    Returns:
        A uint8 tensor with that number of dimensions.

    Raises:
        UserError: naming the file, what was found and what was expected.
    """
    header_size = 4 * (1 + dimensions)
    expected_magic = 0x0800 + dimensions  # 08 = unsigned bytes
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if len(content) < header_size:
            raise ValueError(f"it is cut off: it holds {len(content)} bytes, an IDX header has {header_size}")
        magic, *sizes = (int(number) for number in np.frombuffer(content, ">u4", 1 + dimensions))
        if magic != expected_magic:
            raise ValueError(
                f"it begins with the magic number {magic}, expected {expected_magic} (IDX, unsigned bytes, "
                f"dimensions: {dimensions})"
            )
        size = header_size + math.prod(sizes)
        if len(content) != size:
            what = "cut off" if len(content) < size else "too long"
            shape = "x".join(map(str, sizes))
            raise ValueError(f"it is {what}: {len(content)} bytes, expected {size} for the sizes {shape}")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read, it is cut off or damaged: {error}. {_REMEDY}") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read, {error}. {_REMEDY}") from error
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header_size).reshape(sizes).copy())


_REMEDY = "Replace the file with a whole one, or delete it and let data.download=true download it."
