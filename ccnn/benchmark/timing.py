"""Timing side by side: contenders take turns round by round, so that whatever slows the machine slows them all."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import quantiles
from time import perf_counter

from ccnn.multisampling.conversion.meta import gist

Spread = tuple[float, float, float]
"""Median and the quartiles around it: (median, lower, upper)."""

_SAMPLE_SECONDS = 0.02  # what is shorter runs several times in a row, or the clock's grain and a hiccup would show


@dataclass(frozen=True)
class Contender:
    """One of those that are timed against each other.

    Attributes:
        name: unique among them.
        prepare: builds what is timed; called once, and what it returns is dropped after the race.
        cost: a number in proportion to the time expected, such as multiply-adds; 0 if nothing is known.
        memory: bytes that it will need; 0 if nothing is known.
    """

    name: str
    prepare: Callable[[], Callable[[], object]]
    cost: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Timing:
    """What a race found of a contender.

    Attributes:
        seconds: of one call, by round.
        problem: why there are none.
        first_call_only: the one time is that of the first call, which also prepares kernels and memory: an upper
            bound, which is not compared with others' rounds.
    """

    seconds: tuple[float, ...] = ()
    problem: str = ""
    first_call_only: bool = False

    @property
    def note(self) -> str:
        """What a table says beside the time."""
        return self.problem or ("first call only" if self.first_call_only else "")

    @property
    def spread(self) -> Spread | None:
        """Median and quartiles, None if there are no rounds."""
        return spread(self.seconds) if self.seconds else None


@dataclass(frozen=True)
class Limits:
    """How long a race may take.

    Attributes:
        rounds: at most so many rounds.
        seconds: for each contender, all its rounds; a slow one runs in the first rounds only, and not again after
            its first call if that takes longer.
        patience: seconds of a single call that are expected at most; whoever is expected to take longer, by its
            cost, does not run.
        memory: bytes that are free; whoever needs more does not run. None if that is not known.
    """

    rounds: int
    seconds: float
    patience: float
    memory: int | None = None


def race(
    contenders: Sequence[Contender],
    limits: Limits,
    synchronize: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Timing]:
    """Times contenders round by round, there and back: A B C, C B A, A B C, …, after a warm-up of each.

    So none always follows the same other. The warm-up is two calls: the first prepares kernels and memory, and the
    second tells how often a round calls. Garbage is collected between the rounds, not in them. A contender that
    fails is reported with what went wrong, and the others go on.

    Args:
        contenders: in the order of each round; the first that has a cost says what the others' costs mean.
        limits: how long this may take.
        synchronize: waits until a call's work is done, on devices that do it later.
        clock: seconds.
    """
    times: dict[str, list[float]] = {}
    problems: dict[str, str] = {}
    running: dict[str, _Running] = {}
    per_cost = 0.0
    for contender in contenders:
        expected = contender.cost * per_cost
        if limits.memory is not None and contender.memory > limits.memory:
            problems[contender.name] = (
                f"not run: needs {contender.memory / 1e9:.1f} GB, {limits.memory / 1e9:.1f} GB are free"
            )
            continue
        if expected > limits.patience:
            problems[contender.name] = f"not run: about {expected:.0f} s a call, by its multiply-adds"
            continue
        try:
            entry = _Running(contender.prepare(), synchronize, clock)
            first = entry.sample()
            again = first <= limits.seconds
            warm = entry.sample() if again else first
        except Exception as error:
            problems[contender.name] = gist(error)
            continue
        if not per_cost and contender.cost:
            per_cost = warm / contender.cost
        entry.calls = max(1, ceil(_SAMPLE_SECONDS / max(warm, 1e-9)) if warm < _SAMPLE_SECONDS else 1)
        entry.rounds = max(1, min(limits.rounds, int(limits.seconds / max(warm, 1e-9)))) if again else 0
        running[contender.name] = entry
        times[contender.name] = [] if again else [first]
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    try:
        for turn in range(limits.rounds):
            gc.collect(0)  # what the round before left: all objects made since are in the youngest generation
            for name, entry in list(running.items())[:: -1 if turn % 2 else 1]:
                if turn >= entry.rounds:
                    continue
                try:
                    times[name].append(entry.sample())
                except Exception as error:
                    problems[name] = gist(error)
                    del running[name]
    finally:
        if collects:
            gc.enable()
    return {
        contender.name: Timing(problem=problems[contender.name])
        if contender.name in problems
        else Timing(tuple(times[contender.name]), first_call_only=not running[contender.name].rounds)
        for contender in contenders
    }


class _Running:
    def __init__(
        self, work: Callable[[], object], synchronize: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        self.work, self.synchronize, self.clock = work, synchronize, clock
        self.calls, self.rounds = 1, 0

    def sample(self) -> float:
        """Seconds of one call, of several in a row if one is short."""
        self.synchronize()
        begun = self.clock()
        for _ in range(self.calls):
            self.work()
        self.synchronize()
        return (self.clock() - begun) / self.calls


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    if len(values) == 1:
        return (values[0],) * 3
    lower, median, upper = quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def ratio(over: Timing, under: Timing) -> Spread | None:
    """The ratio of two contenders' times, by round, as a machine's mood within a round hits both.

    Returns:
        Median and quartiles over the rounds that both ran in, None if there are none.
    """
    if over.first_call_only or under.first_call_only:
        return None
    ratios = [a / b for a, b in zip(over.seconds, under.seconds, strict=False)]
    return spread(ratios) if ratios else None
