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
    seconds: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    notes: dict[str, str] = {}
    running: dict[str, _Running] = {}
    per_cost = 0.0
    for candidate in candidates:
        if obstacle := _obstacle(candidate, limits, candidate.cost * per_cost):
            notes[candidate.name] = f"not run: {obstacle}"
            continue
        try:
            running[candidate.name] = timer = _warm_up(Timer(candidate.prepare(), timer=clock), limits)
        except Exception as error:
            notes[candidate.name] = reason(error)
            continue
        if candidate.cost and not per_cost:
            per_cost = timer.warm / candidate.cost
    for turn in range(limits.rounds):
        for name in list(running)[:: -1 if turn % 2 else 1]:
            timer = running[name]
            if turn >= timer.rounds:
                continue
            try:
                seconds[name].append(timer.timer.timeit(timer.calls) / timer.calls)
            except Exception as error:
                notes[name] = reason(error)
                seconds[name] = []
                del running[name]
    return {name: Timing(tuple(values), notes.get(name, "")) for name, values in seconds.items()}


def reason(error: Exception) -> str:
    r"""Type and message of an error, on one line.

    Example:
        >>> reason(ValueError("no such\nlayer"))
        'ValueError: no such layer'
    """
    return shorten(f"{type(error).__name__}: {error}", 200)


@dataclass(frozen=True)
class _Running:
    timer: Timer
    warm: float
    calls: int
    rounds: int


def _obstacle(candidate: Candidate, limits: Limits, expected: float) -> str:
    if limits.memory is not None and candidate.memory > limits.memory:
        return f"needs {candidate.memory / 1e9:.1f} GB, {limits.memory / 1e9:.1f} GB are free"
    return f"about {expected:.0f} s per call, by its multiply-adds" if expected > limits.patience else ""


def _warm_up(timer: Timer, limits: Limits) -> _Running:
    warm = max(timer.timeit(1), 1e-9)
    if warm <= limits.seconds:
        warm = max(timer.timeit(1), 1e-9)
    rounds = max(1, min(limits.rounds, int(limits.seconds / warm)))
    return _Running(timer, warm, ceil(_SAMPLE_SECONDS / warm), rounds)
