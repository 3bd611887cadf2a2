"""IDX files, plain and gzipped."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import idx_bytes, write_idx

from ccnn.data import fetch, load
from ccnn.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "."), ("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")]
)
def test_reads_what_was_written(tmp_path: Path, name: str, folder: str, gzipped: bool) -> None:
    arrays = write_idx(tmp_path / folder, gzipped)
    train, test, origin = load(name, tmp_path)
    for split, prefix in ((train, "train"), (test, "t10k")):
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert np.array_equal(split.images.numpy()[:, 0], arrays[f"{prefix}-images-idx3-ubyte"])
        assert np.array_equal(split.labels.numpy(), arrays[f"{prefix}-labels-idx1-ubyte"])
    assert Path(origin) == tmp_path / folder


def test_the_folder_of_the_data_set_goes_before_the_root(tmp_path: Path) -> None:
    write_idx(tmp_path, size=20)
    write_idx(tmp_path / "MNIST/raw")
    assert load("mnist", tmp_path)[0].images.shape[-1] == 28
    assert load("fashion_mnist", tmp_path)[0].images.shape[-1] == 20


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda content: content[:-1], "is cut off"),
        ("train-images-idx3-ubyte", lambda content: content[:10], "is cut off"),
        ("t10k-images-idx3-ubyte", lambda content: content + b"\0", "is too long"),
        ("t10k-labels-idx1-ubyte", lambda content: content + b"\0", "is too long"),
        (
            "train-labels-idx1-ubyte",
            lambda content: b"\0\0\x08\x03" + content[4:],
            "cut off|magic number 2051",
        ),
        ("train-images-idx3-ubyte", lambda content: b"PNG!" + content[4:], "magic number .*, expected 2051"),
        ("train-labels-idx1-ubyte", lambda _: idx_bytes(np.zeros(11, np.uint8)), "12 images, .* 11 labels"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    write_idx(tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        load("mnist", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 30, -3])
def test_a_cut_off_gzip_file_is_named(tmp_path: Path, keep: int) -> None:
    write_idx(tmp_path, gzipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cut off") as caught:
        load("mnist", tmp_path)
    assert str(path) in str(caught.value)


def test_a_gzip_file_that_is_not_one_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path, gzipped=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"<html>404 Not Found</html>")
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz cannot be read.*Not a gzipped file"):
        load("mnist", tmp_path)


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian() -> None:
    fetch("fashion_mnist", DEBIAN, download=False)
    train, test, _ = load("fashion_mnist", DEBIAN)
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [6_000] * 10
    assert test.labels.bincount().tolist() == [1_000] * 10
    assert train.labels[:5].tolist() == [
        9,
        0,
        0,
        3,
        0,
    ]  # as on the data set's own page: ankle boot, T-shirt, ...
    with gzip.open(DEBIAN / "t10k-images-idx3-ubyte.gz") as file:
        assert file.read()[-784:] == test.images[-1].numpy().tobytes()
