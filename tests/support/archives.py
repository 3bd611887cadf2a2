"""Writers of small data sets in the true formats, independent of the readers."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX format as Yann LeCun's page describes it."""
    return (
        b"\x00\x00\x08"
        + bytes([array.ndim])
        + b"".join(struct.pack(">i", n) for n in array.shape)
        + array.tobytes()
    )


def write_idx(directory: Path, gzipped: bool = False, size: int = 28) -> dict[str, np.ndarray]:
    """Writes 12 training and 5 test images; returns the arrays by file name."""
    random = np.random.default_rng(0)
    arrays = {}
    for prefix, count in (("train", 12), ("t10k", 5)):
        arrays[f"{prefix}-images-idx3-ubyte"] = random.integers(0, 256, (count, size, size), np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = random.integers(0, 10, count, np.uint8)
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if gzipped:
            (directory / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (directory / name).write_bytes(idx_bytes(array))
    return arrays


def _py2_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text  # SHORT_BINSTRING, as Python 2 writes str


def cifar_pickle(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    """A batch as Python 2 wrote the true files, protocol 2: str keys, numpy.core, array content as str."""
    out = io.BytesIO()
    out.write(b"\x80\x02}(")
    for key, numbers in labels.items():
        out.write(_py2_string(key) + b"](")
        out.write(b"".join(b"K" + bytes([number]) for number in numbers) + b"e")
    out.write(_py2_string(b"batch_label") + _py2_string(b"training batch 1 of 5"))
    out.write(_py2_string(b"data"))
    out.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + _py2_string(b"b") + b"tR")
    out.write(b"(K\x01J" + struct.pack("<i", data.shape[0]) + b"J" + struct.pack("<i", data.shape[1]) + b"\x86")
    out.write(b"cnumpy\ndtype\n(" + _py2_string(b"u1") + b"K\x00K\x01tR(K\x03" + _py2_string(b"|") + b"NNN")
    out.write(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T")
    out.write(struct.pack("<i", data.size) + data.tobytes() + b"tb")
    out.write(b"u.")
    return out.getvalue()


def cifar_batches(classes: int) -> dict[str, tuple[np.ndarray, dict[bytes, list[int]]]]:
    """Images (6, 3072) and labels by file name, in CIFAR-10's or CIFAR-100's layout."""
    random = np.random.default_rng(classes)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"] if classes == 10 else ["train", "test"]
    batches = {}
    for name in names:
        labels = [int(label) for label in random.integers(0, classes, 6)]
        keyed = {b"labels": labels}
        if classes == 100:
            keyed = {b"coarse_labels": [label // 5 for label in labels], b"fine_labels": labels}
        batches[name] = random.integers(0, 256, (6, 3072), np.uint8), keyed
    return batches


def tar_gz(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def python3_pickle(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    """The same batch as today's Python and numpy write it."""
    content: dict[bytes, Any] = {**labels, b"data": data, b"filenames": [b"a.png"] * len(data)}
    return pickle.dumps(content, protocol=2)
