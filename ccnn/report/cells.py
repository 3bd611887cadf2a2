"""The numbers of each cell: error, gain over the CNN, distance to the published value, cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from ccnn.report.compute import nearest
from ccnn.report.group import Block, Row
from ccnn.report.paper import BASELINES, SAMPLING, SPREADS, published
from ccnn.report.recipe import Difference, differences, part_tested
from ccnn.report.runs import Mapped, Network, Run
from ccnn.report.statistics import Gain, Summary, gain, summarise


@dataclass(frozen=True)
class Result:
    """One line of a table. Errors in percent, differences and gains in percentage points; None: unknown.

    Args:
        block, row, network: which cell.
        runs: one for each seed.
        states: how many of them finished, failed, ….
        error: over the seeds that finished.
        gain: of the CCNN, or of a CNN trained for longer, over the CNN that it is compared with.
        equal, equal_gain: the CNN that cost what the CCNN's training did, None being that of equal epochs, and
            the gain over it; `equal_gain` is None if there is none.
        published, spread: the paper's error and its ±, if it has this cell.
        difference: our mean error minus the published one.
        published_gain: the paper's CNN error minus its CCNN error.
        unlike: what was done in another way than by the paper, as (what, here, paper's).
        part_tested: `trainer.limit_test_batches` where only that keeps the published error from standing here.
        multiply_adds: for one image.
        training_compute: multiply-adds of the forward passes of the whole training.
        multiply_adds_ratio, compute_ratio, time_ratio: the CCNN's over the CNN's.
        seconds: mean training time.
        machines: whether the times that `time_ratio` compares were taken on machines of one kind.
    """

    block: Block
    row: Row
    network: Network
    runs: tuple[Run, ...]
    states: Counter[str]
    error: Summary | None
    gain: Gain | None
    equal: int | None
    equal_gain: Gain | None
    published: float | None
    spread: float | None
    difference: float | None
    published_gain: float | None
    unlike: tuple[Difference, ...]
    part_tested: object
    multiply_adds: float | None
    multiply_adds_ratio: float | None
    training_compute: float | None
    compute_ratio: float | None
    seconds: float | None
    time_ratio: float | None
    machines: bool


def results(block: Block) -> Iterator[Result]:
    """The lines of a block, in order."""
    for row in block.rows:
        for network, runs in row.cells.items():
            yield _result(block, row, network, runs)


def _result(block: Block, row: Row, network: Network, runs: tuple[Run, ...]) -> Result:
    finished = _finished(runs)
    error = summarise([run.error for run in finished.values()]) if finished else None
    cnns = {name: _finished(runs) for name, runs in _compared_with(block, row).items()}
    compared = cnns.get(None, {}) if network is not None else {}
    compute = _compute(finished)
    equal, equal_gain = None, None
    if isinstance(network, str) and finished and len(cnns) > 1:
        same = {_compute(mine): name for name, mine in cnns.items() if mine}
        if (cost := nearest(compute, list(same))) is not None:
            equal = same[cost]
            equal_gain = gain(_errors(cnns[equal]), _errors(finished))
    value, published_gain = _published(block, row, network)
    part = part_tested(_settings(runs)) if value is not None else None
    if part is not None:
        value, published_gain = None, None
    multiply_adds, seconds = _mean(finished, "multiply_adds"), _mean(finished, "training_seconds")
    ratio = _ratio(multiply_adds, _mean(compared, "multiply_adds"))
    if ratio is None and network is not None:  # the run itself knows what its network costs unconverted
        ratio = _mean(finished, "multiply_adds_ratio")
    return Result(
        block=block,
        row=row,
        network=network,
        runs=runs,
        states=Counter(run.state for run in runs),
        error=error,
        gain=gain(_errors(compared), _errors(finished)) if compared and finished else None,
        equal=equal,
        equal_gain=equal_gain,
        published=value,
        spread=SPREADS.get((row.model, block.column, network is not None)) if value is not None else None,
        difference=error.mean - value if error and value is not None else None,
        published_gain=published_gain,
        unlike=_unlike(block, runs) if finished and value is not None else (),
        part_tested=part,
        multiply_adds=multiply_adds,
        multiply_adds_ratio=ratio,
        training_compute=compute,
        compute_ratio=_ratio(compute, _compute(compared)),
        seconds=seconds,
        time_ratio=_ratio(seconds, _mean(compared, "training_seconds")),
        machines=len({run.machine for run in (*compared.values(), *finished.values())}) <= 1,
    )


def _compared_with(block: Block, row: Row) -> dict[int | None, tuple[Run, ...]]:
    """The CNNs of the same row; for a model that has none, those of its baseline, trained alike."""
    if not row.cells.get(None) and row.model in BASELINES:
        base = BASELINES[row.model]
        rows = (other for other in block.rows if (other.model, other.variant) == (base, row.variant))
        row = next(rows, row)
    return {name: runs for name, runs in row.cells.items() if not isinstance(name, str)}


def _published(block: Block, row: Row, network: Network) -> tuple[float | None, float | None]:
    """The paper's error and gain, if it has this cell and the runs say enough to be set beside it."""
    errors, condition = published(row.model, block.column), block.condition
    stated = condition is None or (condition.protocol is not None and condition.epochs is not None)
    if errors is None or not stated or network not in (None, SAMPLING):
        return None, None
    if network is None:
        return errors.cnn, None
    base = published(BASELINES.get(row.model, row.model), block.column)
    if errors.ccnn is None or base is None or base.cnn is None:
        return errors.ccnn, None
    return errors.ccnn, round(base.cnn - errors.ccnn, 2)


def _settings(runs: tuple[Run, ...]) -> Mapped | None:
    """Of the runs of a cell, which have them in common."""
    return next((run.settings for run in runs if run.settings is not None), None)


def _unlike(block: Block, runs: tuple[Run, ...]) -> tuple[Difference, ...]:
    """How the training differs from the paper's."""
    return differences(block.column, block.condition, _settings(runs)) if block.condition else ()


def _finished(runs: tuple[Run, ...]) -> dict[int, Run]:
    return {run.seed: run for run in runs if run.finished}


def _errors(runs: dict[int, Run]) -> dict[int, float]:
    return {seed: run.error for seed, run in runs.items()}


def _mean(runs: dict[int, Run], key: str) -> float | None:
    values = [value for run in runs.values() if (value := run.number(key)) is not None]
    return fmean(values) if values else None


def _compute(runs: dict[int, Run]) -> float | None:
    """Of one run's training; those of other seeds cost the same."""
    return next((run.training_compute for run in runs.values()), None)


def _ratio(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
