"""CIFAR's python format."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import cifar_batches, cifar_pickle, python3_pickle, tar_gz

from ccnn.data import load
from ccnn.errors import UserError

FOLDERS = {10: "cifar-10-batches-py", 100: "cifar-100-python"}
ARCHIVES = {10: "cifar-10-python.tar.gz", 100: "cifar-100-python.tar.gz"}


def write(root: Path, classes: int, archived: bool, dump: Callable[..., bytes] = cifar_pickle) -> None:
    files = {name: dump(*batch) for name, batch in cifar_batches(classes).items()}
    files["readme.html" if classes == 10 else "file.txt~"] = b"not a pickle"
    if archived:
        tar_gz(root / ARCHIVES[classes], {f"{FOLDERS[classes]}/{name}": files[name] for name in reversed(files)})
        return
    (root / FOLDERS[classes]).mkdir()
    for name, content in files.items():
        (root / FOLDERS[classes] / name).write_bytes(content)


@pytest.mark.parametrize("dump", [cifar_pickle, python3_pickle])
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("classes", [10, 100])
def test_reads_what_was_written(tmp_path: Path, classes: int, archived: bool, dump: Callable[..., bytes]) -> None:
    write(tmp_path, classes, archived, dump)
    before = sorted(tmp_path.rglob("*"))
    train, test, _ = load(f"cifar{classes}", tmp_path)
    *training, testing = cifar_batches(classes).values()
    key = b"labels" if classes == 10 else b"fine_labels"
    for split, batches in ((train, training), (test, [testing])):
        rows = np.concatenate([data for data, _ in batches])
        red, green, blue = rows[:, :1024], rows[:, 1024:2048], rows[:, 2048:]
        for channel, plane in enumerate((red, green, blue)):
            assert np.array_equal(split.images[:, channel].flatten(1).numpy(), plane)
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.labels.tolist() == [label for _, labels in batches for label in labels[key]]
    assert sorted(tmp_path.rglob("*")) == before, "an archive is read in place"


def test_torchvision_reads_the_same_files_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision's reader, checksums aside, is an independent judge of the archives and of the result."""
    from torchvision.datasets import CIFAR10

    write(tmp_path, 10, archived=False)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: None)
    judge = CIFAR10(str(tmp_path), train=True)
    train, _, _ = load("cifar10", tmp_path)
    assert np.array_equal(train.images.permute(0, 2, 3, 1).numpy(), judge.data)
    assert train.labels.tolist() == judge.targets


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("archived", [False, True])
def test_a_pickle_bomb_is_an_error_and_does_not_go_off(tmp_path: Path, archived: bool) -> None:
    target = tmp_path / "exploded"
    bomb = pickle.dumps({b"data": Bomb(target), b"labels": []}, protocol=2)
    write(tmp_path, 10, archived, dump=lambda *_: bomb)
    with pytest.raises(UserError, match=r"asks for .*, which was not run"):
        load("cifar10", tmp_path)
    assert not target.exists()
    pickle.loads(bomb)
    assert target.exists(), "the bomb was a dud, so this test proved nothing"


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "numpy.core.multiarray\nscalar", "numpy\nload"])
def test_no_other_name_is_looked_up(tmp_path: Path, name: str) -> None:
    write(tmp_path, 100, archived=False, dump=lambda *_: f"c{name}\n.".encode())
    with pytest.raises(UserError, match=f"asks for {name.replace(chr(10), '.')}, which was not run"):
        load("cifar100", tmp_path)


def no_key(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return python3_pickle(data, {b"other": [0]})


def floats(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return python3_pickle(data.astype(np.float32), labels)


def narrow(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return python3_pickle(data[:, :784], labels)


def unlabelled(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return python3_pickle(data, {b"labels": labels[b"labels"][1:]})


def cut_off(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return cifar_pickle(data, labels)[:-100]


def empty(data: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("dump", "message"),
    [
        (no_key, "no list of small integers as b'labels'"),
        (floats, "float32 of shape .*expected uint8"),
        (narrow, r"\(6, 784\) as .*, expected uint8 of shape \(N, 3072\)"),
        (unlabelled, "6 images and 5 labels"),
        (cut_off, "cut off or damaged"),
        (empty, "cut off or damaged"),
    ],
)
@pytest.mark.parametrize("archived", [False, True])
def test_a_damaged_batch_is_named(
    tmp_path: Path, archived: bool, dump: Callable[..., bytes], message: str
) -> None:
    write(tmp_path, 10, archived, dump)
    with pytest.raises(UserError, match=message) as caught:
        load("cifar10", tmp_path)
    assert "data_batch_1" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 20, 3000, -20])
def test_a_cut_off_archive_is_named(tmp_path: Path, keep: int) -> None:
    write(tmp_path, 10, archived=True)
    path = tmp_path / ARCHIVES[10]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is cut off or damaged"):
        load("cifar10", tmp_path)


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, 10, archived=True)
    path = tmp_path / ARCHIVES[10]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is cut off or damaged.*CRC"):
        load("cifar10", tmp_path)


def test_an_archive_without_a_batch_is_named(tmp_path: Path) -> None:
    tar_gz(tmp_path / ARCHIVES[10], {"cifar-10-batches-py/test_batch": b""})
    with pytest.raises(UserError, match="lacks cifar-10-batches-py/data_batch_1, "):
        load("cifar10", tmp_path)
