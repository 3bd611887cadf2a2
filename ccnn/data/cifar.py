"""Reads CIFAR-10 and CIFAR-100 in their python format, from the folder or from the archive in place."""

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ccnn.data.split import Split
from ccnn.data.unpickle import unpickle_arrays
from ccnn.errors import UserError


@dataclass(frozen=True)
class Layout:
    """Where a CIFAR data set keeps what.

    Attributes:
        folder: the folder of the files, on the disk and in the archive.
        archive: the name of the archive.
        train: the files of the training set, in order.
        test: the file of the test set.
        labels_key: the key of the labels in each file.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    labels_key: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """All files."""
        return (*self.train, self.test)


CIFAR10 = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    labels_key=b"labels",
)
CIFAR100 = Layout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test="test",
    labels_key=b"fine_labels",
)


def read(path: Path, layout: Layout) -> tuple[Split, Split]:
    """Reads (train, test) from the folder or the archive at `path`.

    Raises:
        UserError: if a file is missing, damaged, or holds anything but images and labels.
    """
    contents = _read_folder(path, layout) if path.is_dir() else _read_archive(path, layout)
    parts = {name: _decode(contents[name], f"{path}/{name}", layout.labels_key) for name in layout.names}
    images, labels = zip(*(parts[name] for name in layout.train), strict=True)
    return Split(torch.cat(images), torch.cat(labels)), parts[layout.test]


def _read_folder(folder: Path, layout: Layout) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in layout.names}
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error}. Make its files readable.") from error


def _read_archive(path: Path, layout: Layout) -> dict[str, bytes]:
    wanted = {f"{layout.folder}/{name}": name for name in layout.names}
    contents = {}
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:  # in the archive's order: going back would decompress it again
                name = wanted.get(member.name.removeprefix("./"))
                content = archive.extractfile(member) if name and member.isfile() else None
                if name and content:
                    contents[name] = content.read()
            while file.read(1 << 20):  # to the end, where the checksum is
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"{path} is cut off or damaged ({error}), expected the archive of the data set. "
            "Delete it, and download it anew, for instance with data.download=true."
        ) from error
    missing = [member for member, name in wanted.items() if name not in contents]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Replace it with the data set's python archive.")
    return contents


def _decode(content: bytes, origin: str, labels_key: bytes) -> Split:
    batch: Any = unpickle_arrays(content, origin)
    remedy = "Replace it with a file of the data set's python version."
    if not isinstance(batch, dict) or b"data" not in batch or labels_key not in batch:
        keys = sorted(map(repr, batch)) if isinstance(batch, dict) else type(batch).__name__
        raise UserError(f"{origin} holds {keys}, expected a dict with b'data' and {labels_key!r}. {remedy}")
    data, labels = batch[b"data"], batch[labels_key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        found = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{origin} holds images as {found}, expected uint8 of shape (N, 3072). {remedy}")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise UserError(f"{origin} holds {labels_key!r} that are not a list of small integers. {remedy}")
    if len(labels) != len(data):
        raise UserError(f"{origin} holds {len(data)} images and {len(labels)} labels, expected as many. {remedy}")
    images = torch.from_numpy(data.reshape(-1, 3, 32, 32).copy())  # rows are red, green, blue, each 32x32
    return Split(images, torch.tensor(labels, dtype=torch.int64))
