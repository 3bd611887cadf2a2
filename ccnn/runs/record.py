"""What a run writes about itself, as dataclasses that writer and readers share: metrics.json and status.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, Self, get_type_hints

from ccnn.errors import UserError
from ccnn.files import write_json

RESULT, STATUS = "metrics.json", "status.json"

RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"

# The keys on disk are those of TensorBoard's curves, which are no Python names.
_KEYS = {"test_error": "test/error", "test_loss": "test/loss", "val_error": "val/error"}


@dataclass(frozen=True)
class RunRecord:
    """The result of a finished run, and what a table of runs needs to know about it.

    Fields that a run of an older version did not write are None.

    Attributes:
        test_error: of the weights of `best_epoch`, percent.
        test_loss: mean cross-entropy on the test set.
        val_error: of the tested weights, percent; None if they were not validated.
        best_epoch: the one whose weights were tested, counted from 1; None: those at the end.
        chosen_by: what it was chosen by, such as `lowest val/error`.
        checkpoint: the name of its file.
        epochs: that were trained.
        training_seconds: without those before an interruption that saved nothing.
        parameters: trainable ones.
        plain_multiply_adds: of a forward pass for one image, before conversion.
        multiply_adds: of the network as it was trained.
        multiply_adds_ratio: the latter divided by the former.
        model: the network's name.
        data: the data set's name.
        augment: the name of the augmentation.
        convert: whether the network was converted.
        sampling: how, as `ccnn.Sampling` prints itself; None for a plain network.
        seed: of the run.
        protocol: `honest`, or `paper`: the best epoch was chosen on the test set.
        train_images: images trained on.
        images_seen: in all training steps together, which the cost of the training follows from.
        batch_size: images per batch and process.

    Example:
        >>> record = RunRecord.from_dict({"test/error": 9.5, "model": "resnet18", "unknown": 1})
        >>> record.test_error, record.model, record.seed
        (9.5, 'resnet18', None)
        >>> record.to_dict()["test/error"]
        9.5
    """

    test_error: float
    test_loss: float | None = None
    val_error: float | None = None
    best_epoch: int | None = None
    chosen_by: str | None = None
    checkpoint: str | None = None
    epochs: int | None = None
    training_seconds: float | None = None
    parameters: int | None = None
    plain_multiply_adds: int | None = None
    multiply_adds: int | None = None
    multiply_adds_ratio: float | None = None
    model: str | None = None
    data: str | None = None
    augment: str | None = None
    convert: bool | None = None
    sampling: str | None = None
    seed: int | None = None
    protocol: str | None = None
    train_images: int | None = None
    images_seen: int | None = None
    batch_size: int | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Takes the keys of metrics.json; unknown ones are ignored.

        Raises:
            ValueError: a value has another type, or the test error is missing.
        """
        values: dict[str, Any] = {}
        for name, hint in get_type_hints(cls).items():
            key = _KEYS.get(name, name)
            value = content.get(key)
            if isinstance(value, bool) is not (bool in _types(hint)) and value is not None:
                raise ValueError(f"{RESULT}: expected {_names(hint)} for {key}, got {value!r}")
            if not isinstance(value, _types(hint)) or (isinstance(value, float) and not isfinite(value)):
                raise ValueError(f"{RESULT}: expected {_names(hint)} for {key}, got {value!r}")
            values[name] = value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The keys and values of metrics.json."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Reads the result of the run in a folder; None if the run has not finished.

        Raises:
            UserError: metrics.json is damaged.
        """
        path = folder / RESULT
        try:
            return cls.from_dict(_read_mapping(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged: {error}.") from error

    def write(self, folder: Path) -> None:
        """Writes metrics.json, which makes the run a finished one.

        Raises:
            OSError: it cannot be written.
        """
        write_json(folder / RESULT, self.to_dict())


@dataclass(frozen=True)
class Status:
    """How far a run got, and which process wrote that.

    Attributes:
        state: running, finished, failed or interrupted; empty if the folder does not say.
        error: the last line of a failed run's message.
        name: of the run's folder.
        time: of the last change, ISO 8601.
        host: the machine.
        process: the process id on that machine.
        started: when that process started, in ticks since the machine did: process ids are reused.
        slurm_job: id of the Slurm job.
    """

    state: str = ""
    error: str | None = None
    name: str = ""
    time: str = ""
    host: str | None = None
    process: int | None = None
    started: str | None = None
    slurm_job: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads status.json as it was written; an empty status if it is missing or damaged."""
        try:
            content = _read_mapping(folder / STATUS)
        except (OSError, ValueError):
            return cls()
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    def write(self, folder: Path) -> None:
        """Writes status.json.

        Raises:
            OSError: it cannot be written.
        """
        write_json(folder / STATUS, asdict(self))


def _read_mapping(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"expected a mapping, got {type(content).__name__}")
    return content


def _types(hint: Any) -> tuple[type, ...]:
    """The types that a value may have: `float | None` admits integers as well."""
    admitted = getattr(hint, "__args__", (hint,))
    return (*admitted, int) if float in admitted else admitted


def _names(hint: Any) -> str:
    return " or ".join(
        "null" if kind is type(None) else kind.__name__ for kind in getattr(hint, "__args__", (hint,))
    )
