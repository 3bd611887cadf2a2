"""The numbers of each cell: error, gain over the CNN, distance to the published value, cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from ccnn.report.grid import Block, Network, Row
from ccnn.report.published import BASELINES, RECIPES, SAMPLING, SPREADS, published
from ccnn.report.runs import Run
from ccnn.report.statistics import Gain, Summary, gain, summarise


@dataclass(frozen=True)
class Result:
    """One line of a table. Errors in percent, differences and gains in percentage points; None: unknown.

    Args:
        block, row, network: which cell.
        runs: one for each seed.
        states: how many of them finished, failed, ….
        error: over the seeds that finished.
        gain: of the CCNN over the CNN that it is compared with.
        published, spread: the paper's error and its ±, if it has this cell.
        difference: our mean error minus the published one.
        published_gain: the paper's CNN error minus its CCNN error.
        unlike: what was done in another way than by the paper, as (what, here, paper's).
        multiply_adds: for one image.
        multiply_adds_ratio, time_ratio: the CCNN's over the CNN's.
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
    published: float | None
    spread: float | None
    difference: float | None
    published_gain: float | None
    unlike: tuple[tuple[str, object, object], ...]
    multiply_adds: float | None
    multiply_adds_ratio: float | None
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
    compared = _finished(_compared_with(block, row)) if network is not None else {}
    value, published_gain = _published(block, row, network)
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
        published=value,
        spread=SPREADS.get((row.model, block.column, network is not None)) if value is not None else None,
        difference=error.mean - value if error and value is not None else None,
        published_gain=published_gain,
        unlike=_unlike(block, runs) if finished and value is not None else (),
        multiply_adds=multiply_adds,
        multiply_adds_ratio=ratio,
        seconds=seconds,
        time_ratio=_ratio(seconds, _mean(compared, "training_seconds")),
        machines=len({run.machine for run in (*compared.values(), *finished.values())}) <= 1,
    )


def _compared_with(block: Block, row: Row) -> tuple[Run, ...]:
    """The CNN of the same row; for a model that has none, that of its baseline, trained alike."""
    if row.cells.get(None) or row.model not in BASELINES:
        return row.cells.get(None, ())
    base = BASELINES[row.model]
    rows = (other for other in block.rows if (other.model, other.variant) == (base, row.variant))
    return next((other.cells.get(None, ()) for other in rows), ())


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


def _unlike(block: Block, runs: tuple[Run, ...]) -> tuple[tuple[str, object, object], ...]:
    """How the training differs from the paper's, in what is known of both."""
    condition = block.condition
    if condition is None or block.column.data not in RECIPES:
        return ()
    settings = next((run.settings for run in runs if run.settings is not None), {})
    here = {
        "epochs": condition.epochs,
        "protocol": condition.protocol,
        "training images": condition.train_images,
        "batch size": condition.batch_size,
        "learning rate": settings.get("optimizer.lr"),
        "weight decay": settings.get("optimizer.weight_decay"),
    }
    recipe = RECIPES[block.column.data]
    return tuple(
        (what, value, recipe[what]) for what, value in here.items() if value is not None and value != recipe[what]
    )


def _finished(runs: tuple[Run, ...]) -> dict[int, Run]:
    return {run.seed: run for run in runs if run.finished}


def _errors(runs: dict[int, Run]) -> dict[int, float]:
    return {seed: run.error for seed, run in runs.items()}


def _mean(runs: dict[int, Run], key: str) -> float | None:
    values = [value for run in runs.values() if (value := run.number(key)) is not None]
    return fmean(values) if values else None


def _ratio(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
