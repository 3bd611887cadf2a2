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
    """Names of the archive, of the folder inside it, of the files, and of the labels in each file."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """All files."""
        return (*self.train, self.test)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10 = Layout("cifar-10-python.tar.gz", "cifar-10-batches-py", _BATCHES, "test_batch", b"labels")
CIFAR100 = Layout("cifar-100-python.tar.gz", "cifar-100-python", ("train",), "test", b"fine_labels")


def read(path: Path, layout: Layout) -> tuple[Split, Split]:
    """Reads (train, test) from the folder or the archive at `path`.

    Raises:
        UserError: if a file is missing, damaged, or holds anything but images and labels.
    """
    contents = _read_folder(path, layout) if path.is_dir() else _read_archive(path, layout)
    parts = {name: _decode(contents[name], f"{path}/{name}", layout.labels) for name in layout.names}
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
                if name and (content := archive.extractfile(member)):
                    contents[name] = content.read()
            while file.read(1 << 20):  # to the end, where the checksum is
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"{path} is cut off or damaged ({error}), expected the archive of the data set. "
            "Delete it, and download it again, for instance with data.download=true."
        ) from error
    missing = [member for member, name in wanted.items() if name not in contents]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Replace it with the data set's python archive.")
    return contents


def _decode(content: bytes, origin: str, labels_key: bytes) -> Split:
    batch: Any = unpickle_arrays(content, origin)
    data: Any = batch.get(b"data") if isinstance(batch, dict) else None
    labels: Any = batch.get(labels_key) if isinstance(batch, dict) else None
    problem = None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        kind = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        problem = f"holds {kind} as b'data', expected uint8 of shape (N, 3072)"
    elif not isinstance(labels, list) or not all(type(label) is int and abs(label) < 2**31 for label in labels):
        problem = f"has no list of small integers as {labels_key!r}"
    elif len(labels) != len(data):
        problem = f"holds {len(data)} images and {len(labels)} labels, expected as many"
    if problem:
        raise UserError(f"{origin} {problem}. Replace it with a file of the data set's python version.")
    images = torch.from_numpy(data.reshape(-1, 3, 32, 32).copy())  # rows are red, green, blue, each 32x32
    return Split(images, torch.tensor(labels, dtype=torch.int64))
