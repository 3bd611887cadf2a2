"""Data sets are found on the disk or downloaded."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torchvision
from archives import write_idx

from ccnn.data import NAMES, fetch, load
from ccnn.data.split import Split, check
from ccnn.errors import UserError

FILES = [name for name in NAMES if name != "digits"]


def test_digits_need_no_files(tmp_path: Path) -> None:
    fetch("digits", tmp_path / "nowhere", download=True)
    assert len(load("digits", tmp_path / "nowhere")[0].labels) > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_missing_data_say_what_was_looked_for_and_where(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} was not found.*data\.download is false") as caught:
        fetch(name, tmp_path, download=False)
    assert str(tmp_path) in str(caught.value)
    assert "data=digits needs no download" in str(caught.value)
    with pytest.raises(UserError, match=f"{name} was not found"):
        load(name, tmp_path)


def test_an_incomplete_set_is_a_missing_one(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST/raw")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="mnist was not found"):
        fetch("mnist", tmp_path, download=False)


def test_a_misspelt_name_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        fetch("cifar-10", tmp_path, download=True)


def no_network(root: str, download: bool) -> None:
    """Fails half-way, as torchvision's classes do."""
    half = Path(root) / "MNIST/raw/train-images-idx3-ubyte.gz"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    raise URLError("Name or service not known")


def test_a_failed_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", no_network)
    with pytest.raises(UserError, match=r"downloading it failed.*Name or service not known.*data=digits"):
        fetch("mnist", tmp_path / "data", download=True)
    assert list((tmp_path / "data").iterdir()) == []
    assert capsys.readouterr().out.startswith(f"Downloading MNIST into {tmp_path / 'data'}")


def test_a_download_is_read_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def network(root: str, download: bool) -> None:
        calls.append(root)
        write_idx(Path(root) / "FashionMNIST/raw")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", network)
    for _ in range(2):
        fetch("fashion_mnist", tmp_path, download=True)
    assert len(calls) == 1
    assert load("fashion_mnist", tmp_path)[0].images.shape == (12, 1, 28, 28)
    assert [path.name for path in tmp_path.iterdir()] == ["FashionMNIST"]


@pytest.mark.parametrize("name", FILES)
def test_torchvision_is_asked_for_the_right_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The real classes of torchvision, with the network alone replaced, ask for this set's own file."""
    urls: list[str] = []

    def refuse(url: str, *_: Any, **__: Any) -> None:
        urls.append(url)
        raise URLError("no network in tests")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)
    with pytest.raises(UserError, match="no network in tests"):
        fetch(name, tmp_path, download=True)
    expected = {"mnist": "mnist/train-images", "fashion_mnist": "fashion-mnist", "cifar10": "cifar-10-python"}
    assert expected.get(name, "cifar-100-python") in urls[0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": 3}, "1 channels, data.channels is 3"),
        ({"image_size": 28}, "16x16 pixels, data.image_size is 28"),
        ({"num_classes": 9}, "labels from 0 to 9, data.num_classes is 9"),
    ],
)
def test_data_other_than_the_config_says_are_errors(config: dict[str, int], message: str) -> None:
    train, _, _ = load("digits", Path())
    check(train, "here", channels=1, image_size=16, num_classes=10)
    with pytest.raises(UserError, match=message):
        check(train, "here", **{"channels": 1, "image_size": 16, "num_classes": 10, **config})


def test_an_empty_set_is_an_error() -> None:
    train, _, _ = load("digits", Path())
    with pytest.raises(UserError, match="no image at all"):
        check(Split(train.images[:0], train.labels[:0]), "here", 1, 16, 10)
