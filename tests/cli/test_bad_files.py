"""Damaged data sets, checkpoints and weights end in one clear message; nothing in them is ever executed."""

import gzip
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archives import cifar_batches, cifar_pickle, idx_bytes, python3_pickle, tar_gz, write_idx
from experiments import Run, signal_at

from ccnn.runs.signals import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")


def mnist(change: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    def prepare(root: Path) -> list[str]:
        write_idx(root)
        change(root)
        return ["data=mnist", "data.batch_size=4"]

    return prepare


def cifar(classes: int, change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], list[str]]:
    def prepare(root: Path) -> list[str]:
        files = {name: cifar_pickle(*batch) for name, batch in cifar_batches(classes).items()}
        change(files)
        folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
        root.mkdir(exist_ok=True)
        tar_gz(root / f"cifar-{classes}-python.tar.gz", {f"{folder}/{k}": v for k, v in files.items()})
        return [f"data=cifar{classes}", "data.batch_size=4"]

    return prepare


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def replaced(name: str, content: bytes | None, by: str = "") -> Callable[[Path], object]:
    """Removes a file; puts another one beside it, or a folder in its place."""

    def change(root: Path) -> None:
        (root / name).unlink()
        if content is None:
            (root / name).mkdir()
        else:
            (root / by).write_bytes(content)

    return change


def batch(labels: dict[bytes, list[int]], pixels: int = 3072) -> bytes:
    return python3_pickle(np.zeros((6, pixels), np.uint8), labels)


def no_archive(root: Path) -> list[str]:
    root.mkdir()
    (root / "cifar-10-python.tar.gz").write_text("<html>")
    return ["data=cifar10"]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def cifar_cut(root: Path) -> list[str]:
    overrides = cifar(10, lambda files: None)(root)
    cut("cifar-10-python.tar.gz", 3000)(root)
    return overrides


def cifar_bomb(root: Path) -> list[str]:
    return cifar(100, lambda files: files.update(train=pickle.dumps(Bomb(root / "exploded"))))(root)


TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
DATA: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "cut off": (mnist(cut(TRAIN, 500)), [TRAIN, "is cut off", "500 bytes", "expected"]),
    "header cut off": (mnist(cut(TRAIN, 7)), [TRAIN, "is cut off", "7 bytes"]),
    "empty": (mnist(cut(LABELS, 0)), [LABELS, "is cut off", "0 bytes"]),
    "too long": (
        mnist(lambda root: put(LABELS, (root / LABELS).read_bytes() + b"x")(root)), [LABELS, "is too long"]),
    "wrong magic": (mnist(put(TRAIN, struct.pack(">4I", 7, 1, 1, 1) + b"x")), [TRAIN, "magic number 7", "2051"]),
    "labels for images": (mnist(lambda root: shutil.copy(root / LABELS, root / TRAIN)), [TRAIN, "magic number"]),
    "too few labels": (mnist(put(LABELS, idx_bytes(np.zeros(3, np.uint8)))), ["12 images", "3 labels"]),
    "labels too large": (mnist(put(LABELS, idx_bytes(np.full(12, 77, np.uint8)))), ["77", "10"]),
    "no images": (mnist(put(TRAIN, idx_bytes(np.zeros((0, 28, 28), np.uint8)))), ["0 images", "12 labels"]),
    "wrong size": (mnist(lambda root: write_idx(root, size=20)), ["20", "28"]),
    "gzip cut off": (
        mnist(replaced(TRAIN, gzip.compress(bytes(9000))[:20], f"{TRAIN}.gz")),
        [f"{TRAIN}.gz", "cut off or damaged"]),
    "gzip of nonsense": (
        mnist(replaced(TRAIN, b"nonsense", f"{TRAIN}.gz")), [f"{TRAIN}.gz", "cut off or damaged"]),
    "one file missing": (mnist(lambda root: (root / LABELS).unlink()), ["mnist was not found", "data.root"]),
    "a folder for a file": (mnist(replaced(LABELS, None)), ["mnist was not found"]),
    "fewer images than a batch": (
        lambda root: [*mnist(lambda _: None)(root), "data.batch_size=64"],
        ["data.batch_size is 64", "11 training images"]),
    "archive cut off": (cifar_cut, ["cifar-10-python.tar.gz", "cut off or damaged"]),
    "member missing": (cifar(10, lambda files: files.pop("data_batch_3")), ["lacks", "data_batch_3"]),
    "no pickle": (cifar(10, lambda files: files.update(test_batch=b"nonsense")), ["test_batch"]),
    "pickle bomb": (cifar_bomb, ["train", "was not run"]),
    "another shape": (
        cifar(10, lambda files: files.update(test_batch=batch({b"labels": [0] * 6}, pixels=10))),
        ["test_batch", "(6, 10)", "(N, 3072)"]),
    "fewer labels": (
        cifar(10, lambda files: files.update(test_batch=batch({b"labels": [0]}))),
        ["test_batch", "6 images and 1 labels"]),
    "coarse labels only": (
        cifar(100, lambda files: files.update(test=batch({b"coarse_labels": [0] * 6}))), ["test", "fine_labels"]),
    "no archive": (no_archive, ["cifar-10-python.tar.gz", "cut off or damaged"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_wrong_data(case: str, refused: Callable[..., str], tmp_path: Path) -> None:
    prepare, parts = DATA[case]
    overrides = prepare(tmp_path / "root")
    message = refused(
        *overrides[:1], *(x for x in overrides[1:]), f"data.root={tmp_path}/root", "data.download=false"
    )
    for part in parts:
        assert part in message, message


@pytest.fixture
def stopped(run: Run, tmp_path: Path) -> Path:
    """A run that was interrupted in its second epoch."""
    with pytest.raises(Interrupted):
        run(*signal_at(5, 2), "callbacks.pictures=null", folder="stopped")
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace("number: 2", "number: 0"))
    return tmp_path / "stopped"


FOREIGN: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "truncated": (lambda path, _: path.write_bytes(path.read_bytes()[:5000]), "is cut off, damaged"),
    "empty": (lambda path, _: path.write_bytes(b""), "is cut off, damaged"),
    "text": (lambda path, _: path.write_text("nothing"), "was refused"),
    "one byte wrong": (lambda path, _: flip(path), "the checksum of"),
    "bomb": (lambda path, flag: torch.save({"state_dict": Bomb(flag)}, path), "was refused"),
    "plain bomb": (lambda path, flag: path.write_bytes(pickle.dumps(Bomb(flag), 2)), "was refused"),
    "whole module": (lambda path, _: torch.save(torch.nn.Linear(2, 2), path), "was refused"),
    "weights alone": (lambda path, _: torch.save({"weight": torch.zeros(2)}, path), "no checkpoint of a run"),
    "a number": (lambda path, _: torch.save(3, path), "no checkpoint of a run"),
    "a folder": (lambda path, _: replaced(path.name, None)(path.parent), "is cut off, damaged"),
}  # fmt: skip


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("case", FOREIGN)
def test_a_wrong_checkpoint_is_said_and_never_run(
    case: str, stopped: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = FOREIGN[case]
    flag = tmp_path / "exploded"
    change(stopped / "checkpoints/last.ckpt", flag)
    run(f"resume={stopped}", folder="elsewhere")
    out = capsys.readouterr().out
    assert f"{stopped}/checkpoints/last.ckpt" in out
    assert said in out
    assert "Resuming from before_last.ckpt" in out
    assert not flag.exists()


def test_a_checkpoint_of_another_architecture(stopped: Path, refused: Callable[..., str]) -> None:
    path = stopped / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["model.more"] = torch.zeros(3)
    torch.save(checkpoint, path)
    assert "is of another network: model.more has the shape (3,) there" in refused(f"resume={stopped}")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_downloaded_weights_are_never_run(
    library: str, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm_hub = pytest.importorskip("timm.models._builder") if library == "timm" else None
    cache, flag = tmp_path / "hub/checkpoints", tmp_path / "exploded"
    cache.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (cache / "resnet18-f37072fd.pth").write_bytes(pickle.dumps(Bomb(flag), 2))
    if timm_hub:  # as it does for weights that are not on the Hugging Face hub
        url = "https://example.invalid/resnet18-f37072fd.pth"
        monkeypatch.setattr(timm_hub, "_resolve_pretrained_source", lambda _: ("url", url))
    message = refused(f"model={library}", "model.name=resnet18", "model.weights=DEFAULT")
    assert not flag.exists()
    assert "model.weights: the file of 'DEFAULT' was refused" in message
    assert str(tmp_path / "hub") in message
