"""Times candidates side by side in interleaved rounds, so that whatever slows the machine slows all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import shorten
from time import perf_counter
from timeit import Timer

import numpy as np
import torch

_SAMPLE_SECONDS = 0.02  # Shorter work runs several times per round, or the clock's resolution would show.


@dataclass(frozen=True)
class Candidate:
    """One of the programs that are timed against each other.

    Attributes:
        name: unique among them.
        prepare: builds what is timed; called once.
        cost: proportional to the expected time, such as multiply-adds; 0 if unknown.
        memory: bytes that it needs; 0 if unknown.
    """

    name: str
    prepare: Callable[[], Callable[[], object]]
    cost: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Limits:
    """How long timing may take.

    Attributes:
        rounds: at most.
        seconds: per candidate, over all its rounds; slow candidates run in fewer rounds, but at least in one.
        patience: seconds per call; candidates that are expected to take longer, by their cost, do not run.
        memory: bytes available; candidates that need more do not run. None if unknown.
    """

    rounds: int = 7
    seconds: float = 20.0
    patience: float = 300.0
    memory: int | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds per call, by round; `note` says why there are none.

    Example:
        >>> Timing((2.0, 1.0, 4.0)).quartiles
        (1.5, 2.0, 3.0)
    """

    seconds: tuple[float, ...] = ()
    note: str = ""

    @property
    def quartiles(self) -> tuple[float | None, float | None, float | None]:
        """Lower quartile, median, upper quartile; None without rounds."""
        if not self.seconds:
            return None, None, None
        lower, median, upper = np.percentile(self.seconds, (25, 50, 75)).tolist()
        return lower, median, upper


def clock() -> float:
    """Seconds, after the GPU, if there is one, has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


def interleave(
    candidates: Sequence[Candidate], limits: Limits, clock: Callable[[], float] = clock
) -> dict[str, Timing]:
    """Times candidates round by round, there and back: A B C, C B A, A B C, ….

    No candidate always follows the same other one. Two calls warm up each candidate: the first prepares kernels
    and memory, the second determines how many calls make a round. `timeit` pauses garbage collection. (It is used
    instead of `torch.utils.benchmark`, whose Timer warms up twice in every round.) A candidate that raises has the
    error in its note; the others continue.

    Args:
        candidates: in the order of the first round; the first with a cost calibrates the others' costs.
        limits: of time and memory.
        clock: in seconds.

    Example:
        >>> timings = interleave([Candidate("sum", lambda: lambda: sum(range(1000)))], Limits(rounds=3))
        >>> len(timings["sum"].seconds)
        3
    """
    runners = [_Runner(candidate) for candidate in candidates]
    per_cost = 0.0
    for runner in runners:
        warm = runner.warm_up(limits, per_cost, clock)
        per_cost = per_cost or (warm / runner.candidate.cost if runner.candidate.cost else 0.0)
    for turn in range(limits.rounds):
        for runner in runners[:: -1 if turn % 2 else 1]:
            if turn < runner.rounds:
                runner.run()
    return {runner.candidate.name: Timing(tuple(runner.seconds), runner.note) for runner in runners}


class _Runner:
    """One candidate: its rounds so far, and how many it has in all, none if it cannot run."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.seconds: list[float] = []
        self.note = ""
        self.rounds = 0
        self.calls = 1

    def warm_up(self, limits: Limits, per_cost: float, clock: Callable[[], float]) -> float:
        """Prepares the candidate and returns the seconds of a call; 0 if it does not run."""
        expected = self.candidate.cost * per_cost
        if limits.memory is not None and self.candidate.memory > limits.memory:
            need, free = self.candidate.memory / 1e9, limits.memory / 1e9
            self.note = f"not run: needs {need:.1f} GB, {free:.1f} GB are free"
        elif expected > limits.patience:
            self.note = f"not run: about {expected:.0f} s per call, by its multiply-adds"
        if self.note:
            return 0.0
        try:
            self.timer = Timer(self.candidate.prepare(), timer=clock)
            warm = max(self.timer.timeit(1), 1e-9)
            if warm <= limits.seconds:
                warm = max(self.timer.timeit(1), 1e-9)
        except Exception as error:
            self.note = reason(error)
            return 0.0
        self.rounds = max(1, min(limits.rounds, int(limits.seconds / warm)))
        self.calls = ceil(_SAMPLE_SECONDS / warm)
        return warm

    def run(self) -> None:
        """One round."""
        try:
            self.seconds.append(self.timer.timeit(self.calls) / self.calls)
        except Exception as error:
            self.note, self.seconds, self.rounds = reason(error), [], 0


def reason(error: Exception) -> str:
    r"""Type and message of an error, on one line.

    Example:
        >>> reason(ValueError("no such\nlayer"))
        'ValueError: no such layer'
    """
    return shorten(f"{type(error).__name__}: {error}", 200)
