"""Reads the IDX files of MNIST and Fashion-MNIST, plain or gzipped."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ccnn.data.split import Split
from ccnn.errors import UserError

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def files(directory: Path) -> list[Path]:
    """The four files of a data set in `directory`, each plain if there is such a file, else gzipped."""
    plain = [directory / name for name in _TRAIN + _TEST]
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

    Args:
        path: the file; gzipped if its name ends in .gz.
        dimensions: how many sizes are expected, 3 for images (N, H, W) and 1 for labels (N,).

    Returns:
        A uint8 tensor with that number of dimensions.

    Raises:
        UserError: naming the file, what was found and what was expected.
    """
    remedy = "Replace the file with a whole one, or delete it and let data.download=true fetch it."
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read, it is cut off or damaged: {error}. {remedy}") from error
    header_size = 4 * (1 + dimensions)
    if len(content) < header_size:
        raise UserError(
            f"{path} is cut off: it holds {len(content)} bytes, an IDX header has {header_size}. {remedy}"
        )
    magic, *sizes = struct.unpack(f">{1 + dimensions}I", content[:header_size])
    expected_magic = 0x0800 + dimensions  # 08 = unsigned bytes
    if magic != expected_magic:
        raise UserError(
            f"{path} begins with the magic number {magic}, expected {expected_magic} "
            f"(IDX, unsigned bytes, dimensions: {dimensions}). {remedy}"
        )
    expected_size = header_size + math.prod(sizes)
    if len(content) != expected_size:
        what = "is cut off" if len(content) < expected_size else "is too long"
        raise UserError(
            f"{path} {what}: it holds {len(content)} bytes, expected {expected_size} "
            f"for the sizes {'x'.join(map(str, sizes))} in its header. {remedy}"
        )
    if len(content) == header_size:
        return torch.zeros(sizes, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header_size).reshape(sizes)
