"""Finds each data set on the disk, downloads it if asked to, and has it read."""

import tempfile
import zlib
from dataclasses import dataclass
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
        layout: of a CIFAR data set; None for IDX files.
    """

    torchvision_class: str
    layout: cifar.Layout | None = None

    @property
    def folder(self) -> str:
        """Where torchvision puts the files, below its root."""
        return self.layout.folder if self.layout else f"{self.torchvision_class}/raw"

    def places(self, root: Path) -> list[Path]:
        """Where the data set may be; the first complete place is read."""
        return [root / self.folder, root / self.layout.archive if self.layout else root]

    def find(self, root: Path) -> Path | None:
        """The first place that has the whole data set."""
        return next((place for place in self.places(root) if self._is_complete(place)), None)

    def _is_complete(self, place: Path) -> bool:
        if self.layout is None:
            return all(path.is_file() for path in idx.files(place))
        return place.is_file() or all((place / name).is_file() for name in self.layout.names)

    def read(self, place: Path) -> tuple[Split, Split]:
        """Reads (train, test) from a complete place."""
        return cifar.read(place, self.layout) if self.layout else idx.read(place)

    def missing(self, name: str, root: Path, reason: str) -> UserError:
        """The error that names the expected files and where they were looked for."""
        names = (*self.layout.names, f"or {self.layout.archive}") if self.layout else idx.NAMES
        places = " or ".join(str(place.absolute()) for place in self.places(root))
        return UserError(
            f"The data set {name} was not found in {places}: {reason}. Set data.root to the folder that has its "
            f"files ({', '.join(names)}{'' if self.layout else ', plain or .gz'}), or put them there; data=digits "
            "needs no download."
        )


_SOURCES = {
    "mnist": _Source("MNIST"),
    "fashion_mnist": _Source("FashionMNIST"),
    "cifar10": _Source("CIFAR10", cifar.CIFAR10),
    "cifar100": _Source("CIFAR100", cifar.CIFAR100),
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
        raise source.missing(name, root, "data.download is false, so it was not downloaded")
    try:
        _download(source, root)
    except (OSError, RuntimeError, EOFError, HTTPException, TarError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise source.missing(name, root, f"downloading it failed ({reason})") from error
    if source.find(root) is None:
        raise source.missing(name, root, "the download brought other files than expected")


def load(name: str, root: Path) -> tuple[Split, Split, str]:
    """Reads a data set that is on the disk.

    Args:
        name: one of `NAMES`.
        root: the folder to look in.

    Returns:
        The training set, the test set, and where they were read from.

    Raises:
        UserError: if the data set is not there or is damaged.

    Example:
        >>> train, test, origin = load("digits", Path("data"))
        >>> tuple(train.images.shape), len(test.labels), origin
        ((1297, 1, 16, 16), 500, "scikit-learn's digits")
    """
    source = _source(name)
    if source is None:
        return *digits.read(), "scikit-learn's digits"
    place = source.find(root)
    if place is None:
        raise source.missing(name, root, "it has not been downloaded")
    return *source.read(place), str(place)


def _source(name: str) -> _Source | None:
    """The files of the data set `name`; None for the digits, which have no files."""
    if name not in NAMES:
        raise UserError(f"data.name is {name!r}, which is no data set: {choices(name, NAMES)}")
    return _SOURCES.get(name)


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
