"""The record that evaluation.json holds: scores of a network, plain and converted, with all that led to them."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from ccnn.errors import UserError
from ccnn.files import write_json

RESULT = "evaluation.json"


@dataclass(frozen=True)
class NetworkScore:
    """Scores of one network. Errors and their 95 % intervals in percent, gains in percentage points.

    Attributes:
        network: `CNN`, or `CCNN` with its sampling.
        sampling: None for the plain network.
        as_trained: whether the weights were trained in this form.
        top1_error, top1_interval: with Wilson's interval.
        top5_error, top5_interval: None for five classes or fewer.
        top1_gain, top1_gain_interval: how much lower than the plain network's the error is, paired by image.
        fixed, broken: images that the conversion puts right, and that it breaks.
        ms_per_image: median over batches.
        peak_memory_mib: on a GPU, weights and input included.
        multiply_adds, multiply_adds_ratio: for one image, and over the plain network's.
        submaps: merged for one image.
    """

    network: str
    sampling: str | None
    as_trained: bool
    top1_error: float
    top1_interval: list[float]
    top5_error: float | None
    top5_interval: list[float] | None
    top1_gain: float | None
    top1_gain_interval: list[float] | None
    fixed: int | None
    broken: int | None
    ms_per_image: float
    peak_memory_mib: float | None
    multiply_adds: int
    multiply_adds_ratio: float
    submaps: int


@dataclass(frozen=True)
class EvaluationRecord:
    """An evaluation. `run` and `protocol` are None for published weights, `published_weights` for a file's.

    Attributes:
        model, library, weights: what was scored, the function that builds it, and the weights' name.
        published_weights: the library's name for them.
        run: the folder whose checkpoint was taken.
        images, test_images: how many were shown, of how many.
        networks: the plain one first.
        overrides, config, environment: what was typed, composed and installed.
    """

    model: str
    library: str
    weights: str
    published_weights: str | None
    run: str | None
    data: str
    classes: int
    preprocessing: str
    input_size: list[int]
    images: int
    test_images: int
    batch_size: int
    parameters: int
    device: str
    threads: int
    precision: str
    networks: list[NetworkScore]
    overrides: list[str]
    config: dict[str, Any]
    environment: dict[str, Any]
    protocol: str | None = None

    @property
    def title(self) -> str:
        """Network, weights, and data in one line; says where the test set chose the epoch."""
        run = f" of {Path(self.run).resolve().name}" if self.run else ""
        weights = self.weights
        if self.published_weights not in (None, weights):
            weights += f" = {self.published_weights}"
        best = "best test epoch (protocol=paper)" if self.weights == "best.ckpt" else "protocol=paper"
        chosen = f", {best}" if self.protocol == "paper" else ""
        return f"{self.model} ({weights}{run}{chosen}) on {self.data}"

    @property
    def shown(self) -> str:
        """How many images were shown."""
        part = "all" if self.images == self.test_images else f"{self.images:,} of"
        return f"{part} {self.test_images:,} test images"

    def write(self, folder: Path) -> None:
        """Writes evaluation.json, complete or not at all.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            write_json(folder / RESULT, asdict(self))
        except OSError as error:
            raise UserError(f"{folder}: the evaluation cannot be written: {error.strerror}.") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads an evaluation.json. Keys that other versions wrote are ignored.

        Raises:
            UserError: it cannot be read, or lacks a key.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content["networks"] = [NetworkScore(**_known(NetworkScore, row)) for row in content["networks"]]
            return cls(**_known(cls, content))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as an evaluation of this program: {error}.") from error


def _known(record: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, of which only those with a default may be missing."""
    names = [field.name for field in fields(record) if field.name in content or field.default is MISSING]
    return {name: content[name] for name in names}
