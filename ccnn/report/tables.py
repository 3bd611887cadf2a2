"""Blocks as text: a title, lines of cells and notes, the same for every format."""

from dataclasses import dataclass
from typing import NamedTuple

from ccnn.report.cells import Result, results
from ccnn.report.compute import TOLERANCE
from ccnn.report.format import duration, plus_minus, quantity, setting, signed, times
from ccnn.report.group import Block, Row, network_name
from ccnn.report.paper import (
    BASELINES,
    C10,
    C10_PLAIN,
    C100,
    MNIST,
    NAMES,
    PARAMETERS,
    Column,
    PaperTable,
    published,
)
from ccnn.report.statistics import Gain

HEADER = (
    "network",
    "test error, %",
    "gain over the CNN",
    "95 % interval",
    "paper",
    "difference",
    "paper's gain",
    "multiply-adds",
    "training time",
)
"""The columns of a table beside the paper's. Line breaks within cells are `\\n`."""

_OF_THE_PAPER = ("paper", "difference", "paper's gain")
_AT_EQUAL_COMPUTE = (
    "network",
    "test error, %",
    "gain over the CNN [95 %]",
    "gain at equal compute [95 %]",
    "multiply-adds",
    "training compute",
    "training time",
)
"""The columns where CNNs were trained for longer; the intervals are below the gains, or they would not fit."""

MISSING = "–"


class Group(NamedTuple):
    """A model's lines under its name."""

    name: str
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Sheet:
    """One block, ready to be shown.

    Args:
        title: the data and what all its runs have in common.
        header: the columns' names.
        groups: the lines, as long as the header.
        notes: below the table.
    """

    title: str
    header: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def sheet(block: Block, table: PaperTable | None = None) -> Sheet:
    """Writes a block as text.

    Args:
        block: of `grid.arrange`.
        table: adds what else the paper's table holds to the notes.
    """
    lines = list(results(block))
    header, seeds = _header(lines), max((line.error.n for line in lines if line.error), default=0)
    groups = [
        Group(
            _label(row, block.column, lines),
            tuple(tuple(_cells(line, seeds)[name] for name in header) for line in lines if line.row is row),
        )
        for row in block.rows
    ]
    notes = [
        *_equal_compute(lines),
        *_unlike(lines),
        *_partly(lines),
        *_marks(lines),
        *_unfinished(lines),
        *block.notes,
    ]
    if block.column == C100 and any(group.name.count("; paper: ") for group in groups):
        notes.append("The paper counts the parameters of ResNets with 10 classes, here they have 100.")
    for name, values in table.others.items() if table else ():
        if (value := values[table.columns.index(block.column)] if table else None) is not None:
            notes.append(f"Published besides: {name}: {value:.2f} %.")
    return Sheet(block_title(block), header, tuple(groups), tuple(notes))


_TITLES = {
    C10_PLAIN: "C10* (CIFAR-10 without augmentation)",
    C10: "C10 (CIFAR-10, shifted and flipped)",
    C100: "C100 (CIFAR-100, shifted and flipped)",
    MNIST[0]: "MNIST, no augmentation",
    MNIST[1]: "MNIST, shift",
    MNIST[2]: "MNIST, shift+rot",
}
"""What the paper calls its columns."""


def short_title(block: Block) -> str:
    """Data, augmentation and protocol: as the paper calls them, or by their config names."""
    name = _TITLES.get(block.column, f"{block.column.data}, augment={block.column.augment}")
    if block.condition is None:
        return f"{name} · no runs"
    protocol = block.condition.protocol
    told = "protocol=paper: best test epoch" if protocol == "paper" else f"protocol={protocol or 'not recorded'}"
    return f"{name} · {told}"


def block_title(block: Block) -> str:
    """The short title and what else a block's runs have in common."""
    if block.condition is None:
        return short_title(block)
    _, epochs, images, batch = block.condition
    parts = [
        f"{epochs or 'unknown number of'} epoch{'' if epochs == 1 else 's'}",
        f"{images:,} training images" if images else "training images not recorded",
        f"batches of {batch}" if batch else "batch size not recorded",
    ]
    return " · ".join([short_title(block), *parts])


def row_name(row: Row) -> str:
    """The model as the paper calls it, and what sets this row apart from others of it."""
    return " ".join([NAMES.get(row.model, row.model), *(f"{key}={value}" for key, value in row.variant)])


def _label(row: Row, column: Column, lines: list[Result]) -> str:
    """The row's name and the network's parameters beside the published ones."""
    counts = [run.number("parameters") for line in lines if line.row is row for run in line.runs]
    counts = [count for count in counts if count is not None]
    parts = [f"{counts[0]:,.0f} parameters"] if counts else []
    if row.model in PARAMETERS and published(row.model, column):
        parts.append(f"paper: {PARAMETERS[row.model]}" + ("" if counts else " parameters"))
    if row.model in BASELINES and None not in row.cells:
        parts.append(f"compared with {NAMES[BASELINES[row.model]]}")
    return f"{row_name(row)} ({'; '.join(parts)})" if parts else row_name(row)


def _header(lines: list[Result]) -> tuple[str, ...]:
    """The columns of a block: with those of equal compute and of the paper where there is something to show."""
    published = any(line.published is not None for line in lines)
    if not any(isinstance(line.network, int) for line in lines):
        return tuple(name for name in HEADER if published or name not in _OF_THE_PAPER)
    return (*_AT_EQUAL_COMPUTE[:4], *(_OF_THE_PAPER if published else ()), *_AT_EQUAL_COMPUTE[4:])


def _cells(line: Result, seeds: int) -> dict[str, str]:
    """The texts of a line under the names of their columns.

    Args:
        line: of the block.
        seeds: the most that any of its cells has.
    """
    gain, interval = _gain(line.gain)
    relative = line.network is not None
    time = times(line.time_ratio) + ("" if line.machines else "‡") if line.time_ratio else duration(line.seconds)
    return {
        "network": network_name(line.network),
        "test error, %": _error(line, seeds),
        "gain over the CNN": gain,
        "95 % interval": interval,
        "gain over the CNN [95 %]": _with_interval(line.gain),
        "gain at equal compute [95 %]": _with_interval(line.equal_gain),
        "paper": ""
        if line.published is None
        else f"{line.published:.2f}" + (f" ± {line.spread}" if line.spread else ""),
        "difference": "" if line.difference is None else signed(line.difference) + ("†" if line.unlike else ""),
        "paper's gain": "" if line.published_gain is None else signed(line.published_gain),
        "multiply-adds": times(line.multiply_adds_ratio) if relative else quantity(line.multiply_adds),
        "training compute": times(line.compute_ratio) if relative else quantity(line.training_compute),
        "training time": time,
    }


def _gain(gain: Gain | None) -> tuple[str, str]:
    """A gain and its interval."""
    if gain is None:
        return "", ""
    if gain.summary is None:
        return f"{signed(gain.difference)} unpaired", ""
    summary = gain.summary
    interval = " … ".join(signed(bound) for bound in summary.interval or ())
    return plus_minus(summary.mean, summary.std, summary.n, with_sign=True), interval


def _with_interval(gain: Gain | None) -> str:
    text, interval = _gain(gain)
    return f"{text}\n[{interval}]" if interval else text


def _equal_compute(lines: list[Result]) -> list[str]:
    """Which CNN each CCNN is compared with at equal compute."""
    pairs: dict[str, list[str]] = {}
    for line in lines:
        if line.equal_gain:
            pairs.setdefault(network_name(line.equal), []).append(network_name(line.network))
    if not pairs:
        return []
    told = "; ".join(f"{', '.join(dict.fromkeys(names))} with {cnn}" for cnn, names in pairs.items())
    return [f"Equal compute, training multiply-adds within {TOLERANCE:.0%}: {told}.".replace("%", " %")]


def _error(line: Result, seeds: int) -> str:
    """The error of what finished, then how many runs did not."""
    parts = [plus_minus(line.error.mean, line.error.std, line.error.n, of=seeds)] if line.error else []
    for state, count in sorted(line.states.items()):
        if state != "finished":
            total = line.states.total()
            parts.append(state if total == 1 else f"{state} ({count} of {total})")
    return "\n".join(parts) or MISSING


def _unlike(lines: list[Result]) -> list[str]:
    """One footnote for all that is marked with †."""
    told: list[str] = []
    for what, here, paper in dict.fromkeys(item for line in lines for item in line.unlike):
        counted = "number of " if what in ("epochs", "training images") else ""
        of = "" if told else " than the paper's"
        told.append(f"other {counted}{what}{of} ({setting(here)} instead of {setting(paper)})")
    return [f"† {', '.join(told)}."] if told else []


def _partly(lines: list[Result]) -> list[str]:
    """Errors that are set beside no published one, because images were left out."""
    return [
        f"{row_name(line.row)}, {network_name(line.network)}: scored on a part of the test set "
        f"(trainer.limit_test_batches={line.part_tested}), so the paper's error is not set beside it."
        for line in lines
        if line.part_tested is not None
    ]


def _marks(lines: list[Result]) -> list[str]:
    apart = any(line.time_ratio and not line.machines for line in lines)
    return ["‡ training times of different machines."] if apart else []


def _unfinished(lines: list[Result]) -> list[str]:
    """What stopped the runs that did not finish, as far as they say."""
    return [
        f"{NAMES.get(run.model, run.model)}, {network_name(run.network)}, seed {run.seed}: {run.state}"
        + (f": {run.problem.rstrip('.')}" if run.problem else "")
        + f" ({run.folder})."
        for line in lines
        for run in line.runs
        if run.state != "finished" and run.state != "running"
    ]
