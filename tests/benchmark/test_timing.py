"""Interleaved timing, with a clock that only the timed work moves."""

from collections.abc import Callable
from typing import Any

import pytest

from ccnn.benchmark.timing import Candidate, Limits, Timing, interleave

LIMITS = Limits(rounds=3, seconds=1000.0, patience=1000.0)


class Track:
    """A clock that only work moves, and the order in which work was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = ""

    def __call__(self) -> float:
        return self.now

    def candidate(self, name: str, *seconds: float, **options: Any) -> Candidate:
        """Takes these seconds in its calls, the last one repeatedly."""
        left = list(seconds)

        def work() -> None:
            self.order += name
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return Candidate(name, lambda: work, **options)


def test_candidates_take_turns_there_and_back_after_a_warm_up() -> None:
    track = Track()
    result = interleave([track.candidate(name, 1.0) for name in "ABC"], LIMITS, track)
    assert track.order == "AABBCC" + "ABC" + "CBA" + "ABC"
    assert result == {name: Timing((1.0, 1.0, 1.0)) for name in "ABC"}


def test_the_warm_up_does_not_count() -> None:
    track = Track()
    (timing,) = interleave([track.candidate("A", 9.0, 8.0, 1.0, 3.0, 2.0)], LIMITS, track).values()
    assert timing.seconds == (1.0, 3.0, 2.0)
    assert timing.quartiles == (1.5, 2.0, 2.5)


def test_short_work_runs_several_times_per_round_by_its_second_call() -> None:
    track = Track()
    result = interleave([track.candidate("A", 0.5, 0.004), track.candidate("B", 1.0)], LIMITS, track)
    assert track.order == "AABB" + "AAAAAB" + "BAAAAA" + "AAAAAB"
    assert result["A"].seconds == pytest.approx((0.004,) * 3)


def test_slow_work_has_fewer_rounds_and_at_least_one() -> None:
    track = Track()
    candidates = [track.candidate("A", 1.0), track.candidate("B", 4.0), track.candidate("C", 11.0)]
    result = interleave(candidates, Limits(rounds=3, seconds=10.0), track)
    assert track.order == "AABBC" + "ABC" + "BA" + "A"
    assert [len(timing.seconds) for timing in result.values()] == [3, 2, 1]


def test_what_would_exceed_time_or_memory_does_not_run() -> None:
    track = Track()
    candidates = [
        track.candidate("A", 2.0, cost=10.0),
        track.candidate("B", 4.0, cost=499.0),
        track.candidate("C", 4.0, cost=501.0),
        track.candidate("D", 4.0, memory=3_000_000_000),
    ]
    result = interleave(candidates, Limits(rounds=1, seconds=1000.0, patience=100.0, memory=2_000_000_000), track)
    assert track.order == "AABBAB"
    assert result["C"].note == "not run: about 100 s per call, by its multiply-adds"
    assert result["D"].note == "not run: needs 3.0 GB, 2.0 GB are free"
    assert result["D"].quartiles == (None, None, None)


def test_an_error_is_noted_and_the_others_continue() -> None:
    track = Track()

    def unbuilt() -> Callable[[], object]:
        raise ValueError("no such\nlayer")

    calls = iter([None] * 3)
    candidates = [
        Candidate("A", unbuilt), Candidate("B", lambda: lambda: next(calls)), track.candidate("C", 1.0),
    ]  # fmt: skip
    result = interleave(candidates, LIMITS, track)
    assert result["A"] == Timing(note="ValueError: no such layer")
    assert (result["B"].seconds, result["B"].note) == ((), "StopIteration:")
    assert result["C"].seconds == (1.0, 1.0, 1.0)
