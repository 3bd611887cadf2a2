"""What a run leaves, in a form that can be compared: weights, state, metrics, curves."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

LOCAL = ("system/", "training_seconds")
"""What depends on the machine and its mood."""


def metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json."""
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in content.items() if name not in LOCAL}


def status(folder: Path) -> dict[str, Any]:
    """The content of status.json."""
    content: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return content


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith(LOCAL)} for row in csv.DictReader(file)]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The points of each curve in TensorBoard."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith(LOCAL)
    }


def state(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    """Weights, optimizer and schedule of a checkpoint."""
    checkpoint = torch.load(folder / "checkpoints" / name, weights_only=True)
    return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch")}


def same(one: Any, other: Any) -> bool:
    """Whether two trees of values agree bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_run(one: Path, other: Path) -> None:
    """Two runs ended alike: the first is the one to compare with."""
    assert metrics(other) == metrics(one)
    assert rows(other) == rows(one)
    assert scalars(other) == scalars(one)
    assert same(state(one), state(other))
    assert same(state(one, "best.ckpt"), state(other, "best.ckpt"))
    leftover = [path.name for path in other.rglob("*.tmp")]
    assert not leftover
