"""What training costs, and which CNNs were trained for longer to cost what a CCNN costs."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ccnn.report.paper import BASELINES
from ccnn.report.runs import Condition, Run

TOLERANCE = 0.05
"""Two trainings are of equal compute if their multiply-adds differ by no more than this part."""


def same_compute(one: float | None, other: float | None) -> bool:
    """Whether two trainings cost the same, as far as multiply-adds tell.

    >>> same_compute(100.0, 104.0), same_compute(100.0, 106.0), same_compute(None, 100.0)
    (True, False, False)
    """
    return one is not None and other is not None and abs(one / other - 1) <= TOLERANCE


def set_beside(runs: Iterable[Run]) -> list[Run]:
    """Puts CNNs that were trained for longer into the condition of the CCNNs that cost the same.

    A CNN keeps its own condition if there are CCNNs with as many epochs, or none of its compute. The runs moved
    have `longer` set to the epochs that they really had.
    """
    runs = list(runs)
    converted: dict[Any, dict[Condition, list[Run]]] = {}
    for run in runs:
        if run.sampling is not None:
            converted.setdefault(_family(run), {}).setdefault(run.condition, []).append(run)
    targets: dict[Any, Condition] = {}
    for run in runs:
        beside = converted.get(_family(run), {})
        if run.sampling is None and run.condition not in beside:
            for condition, others in beside.items():
                if any(same_compute(run.training_compute, other.training_compute) for other in others):
                    targets.setdefault((_family(run), run.condition), condition)
    return [_moved(run, targets.get((_family(run), run.condition))) for run in runs]


def _moved(run: Run, condition: Condition | None) -> Run:
    if condition is None or run.sampling is not None:
        return run
    return replace(run, condition=condition, longer=run.condition.epochs)


def _family(run: Run) -> tuple:
    """What a CNN and the CCNNs that it is compared with have in common."""
    return (BASELINES.get(run.model, run.model), run.column, run.condition._replace(epochs=None))


def nearest(compute: float | None, others: Iterable[float | None]) -> float | None:
    """Which of some others is nearest to a training's compute; None if none of them is the same."""
    alike = [other for other in others if compute and other and same_compute(other, compute)]
    return min(alike, key=lambda other: abs(other - (compute or 0)), default=None)
