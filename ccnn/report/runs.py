"""A run as the report sees it: what was trained, under which conditions, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ccnn.report.paper import Column

Mapped = Mapping[str, Any]

Network = str | int | None
"""The sampling of a CCNN; None for the CNN; its epochs for a CNN trained for longer, at a CCNN's compute."""


class Condition(NamedTuple):
    """What runs must have in common to stand in one table; None where a run does not say."""

    protocol: str | None
    epochs: int | None
    train_images: int | None
    batch_size: int | None


@dataclass(frozen=True)
class Run:
    """One run folder.

    Args:
        folder: where it is.
        state: finished, running, failed, interrupted; unfinished if the folder does not say which.
        problem: the last line of a failed run's error.
        model, column: the network, and the data as augmented.
        sampling: of a CCNN; None for a CNN.
        settings: everything else in its config that may change the result, with dotted keys; None if unknown.
        metrics: of metrics.json; empty if the run did not finish.
        environment: of environment.json.
        started: orders runs by age.
        longer: of a CNN that is shown among runs of fewer epochs, because it cost the same: its own epochs.
    """

    folder: Path
    state: str
    problem: str | None
    model: str
    column: Column
    sampling: str | None
    seed: int
    condition: Condition
    settings: Mapped | None
    metrics: Mapped
    environment: Mapped
    started: float
    longer: int | None = None

    @property
    def finished(self) -> bool:
        """Whether it has a test error."""
        return bool(self.metrics)

    @property
    def error(self) -> float:
        """Test error of a finished run, in percent."""
        return float(self.metrics["test/error"])

    @property
    def network(self) -> Network:
        """Which column of its model's row it belongs to."""
        return self.longer if self.sampling is None else self.sampling

    @property
    def training_compute(self) -> float | None:
        """Multiply-adds of the forward passes of the whole training; None if the run does not say enough."""
        _, epochs, images, _ = self.condition
        each = self.number("multiply_adds")
        method = (self.sampling or "").partition(" ")[0]
        if method == "stochastic":  # multiply_adds is that of the method it has in evaluation
            each = self.number("plain_multiply_adds")
        elif method == "random" and "evaluation=" in (self.sampling or ""):
            each = None
        if each is None or not epochs or not images:
            return None
        return each * images * (self.longer or epochs)

    @property
    def commit(self) -> str | None:
        """The program's git commit, if it was recorded."""
        git = self.environment.get("git")
        return str(git["commit"]) if isinstance(git, Mapping) and "commit" in git else None

    @property
    def machine(self) -> str:
        """What its training time depends on besides the program."""
        return ", ".join(str(self.environment.get(key)) for key in ("gpus", "processor", "threads"))

    def number(self, key: str) -> float | None:
        """A metric; None if the run has no such number."""
        value: Any = self.metrics.get(key)
        return float(value) if finite(value) else None


def finite(value: Any) -> bool:
    """Whether it is a number, neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
