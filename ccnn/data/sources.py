"""Finds each data set on the disk, downloads it if asked to, and has it read."""

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from tarfile import TarError

from ccnn.data import cifar, digits, idx
from ccnn.data.split import Split
from ccnn.errors import UserError, choices


@dataclass(frozen=True)
class _Source:
    """A data set that is kept in files.

    Attributes:
        torchvision_class: the class of torchvision.datasets that downloads it.
        folder: where that class puts the files, below its root.
        places: where the data set may be, given the root; the first complete place is read.
        is_complete: whether all files of the data set are at a place.
        read: reads (train, test) from a complete place.
    """

    torchvision_class: str
    folder: str
    places: Callable[[Path], list[Path]]
    is_complete: Callable[[Path], bool]
    read: Callable[[Path], tuple[Split, Split]]

    def find(self, root: Path) -> Path | None:
        """The first place below `root` that has the whole data set."""
        return next((place for place in self.places(root) if self.is_complete(place)), None)


def _idx_source(torchvision_class: str) -> _Source:
    folder = f"{torchvision_class}/raw"
    return _Source(
        torchvision_class,
        folder,
        places=lambda root: [root / folder, root],
        is_complete=lambda place: all(path.is_file() for path in idx.files(place)),
        read=idx.read,
    )


def _cifar_source(torchvision_class: str, layout: cifar.Layout) -> _Source:
    return _Source(
        torchvision_class,
        layout.folder,
        places=lambda root: [root / layout.folder, root / layout.archive],
        is_complete=lambda place: place.is_file() or all((place / name).is_file() for name in layout.names),
        read=partial(cifar.read, layout=layout),
    )


_SOURCES = {
    "mnist": _idx_source("MNIST"),
    "fashion_mnist": _idx_source("FashionMNIST"),
    "cifar10": _cifar_source("CIFAR10", cifar.CIFAR10),
    "cifar100": _cifar_source("CIFAR100", cifar.CIFAR100),
}
NAMES = ("digits", *_SOURCES)


def fetch(name: str, root: Path, download: bool) -> None:
    """Makes sure that the data set is on the disk, downloading it if it is not and `download` allows it.

    Args:
        name: one of `NAMES`.
        root: the folder to look in and to download into.
        download: whether to download what is missing.

    Raises:
        UserError: if the data set is not there and cannot be had.
    """
    source = _source(name)
    if source is None or source.find(root) is not None:
        return
    if root.exists() and not root.is_dir():
        raise UserError(f"data.root: {root} is a file, expected a folder.")
    if not download:
        raise _missing(name, source, root, "data.download is false, so it was not downloaded")
    try:
        _download(source, root)
    except (OSError, RuntimeError, EOFError, HTTPException, TarError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _missing(name, source, root, f"downloading it failed ({reason})") from error
    if source.find(root) is None:
        raise _missing(name, source, root, "the download brought other files than expected")


def load(name: str, root: Path) -> tuple[Split, Split, str]:
    """Reads a data set that is on the disk.

    Args:
        name: one of `NAMES`.
        root: the folder to look in.

    Returns:
        The training set, the test set, and where they were read from.

    Raises:
        UserError: if the data set is not there or is damaged.
    """
    source = _source(name)
    if source is None:
        return *digits.read(), "scikit-learn's digits"
    place = source.find(root)
    if place is None:
        raise _missing(name, source, root, "it has not been downloaded")
    return *source.read(place), str(place)


def _source(name: str) -> _Source | None:
    """The files of the data set `name`; None for the digits, which have no files."""
    if name not in NAMES:
        raise UserError(f"data.name is {name!r}, which is no data set: {choices(name, NAMES)}")
    return _SOURCES.get(name)


def _missing(name: str, source: _Source, root: Path, reason: str) -> UserError:
    places = " or ".join(str(place.absolute()) for place in source.places(root))
    return UserError(
        f"The data set {name} was not found: looked for its files in {places}, and {reason}. "
        f"Set data.root to the folder that has them, or put them there; data=digits needs no download."
    )


def _download(source: _Source, root: Path) -> None:
    """Downloads beside the final place and moves whole files there, so that no half file is ever found."""
    import torchvision

    root.mkdir(parents=True, exist_ok=True)
    print(
        f"Downloading {source.torchvision_class} into {root.absolute()}; data.download=false forbids it.",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary:
        getattr(torchvision.datasets, source.torchvision_class)(temporary, download=True)
        final = root / source.folder
        final.mkdir(parents=True, exist_ok=True)
        for path in (Path(temporary) / source.folder).iterdir():
            if path.is_file():
                path.replace(final / path.name)
