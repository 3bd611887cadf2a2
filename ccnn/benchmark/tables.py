"""What the suites find: tables and bars, for the terminal, as CSV and in Markdown."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table as RichTable

from ccnn.benchmark.timing import Spread

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Rows of cells; numbers are exact, and rounded where they are shown.

    Attributes:
        name: of its CSV file.
        title: a sentence on what it shows.
        columns: headings, with units.
        rows: None where there is nothing.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


@dataclass(frozen=True)
class Bar:
    """A promise, and what was measured.

    Attributes:
        case: what it was measured on.
        promise: the quantity that is promised.
        value: its median and quartiles; None if it could not be measured.
        limit: what it is promised to be at most, or at least.
        at_least: which of the two.
        note: why there is no value, or what else to know.
        at_most: what the value could be at most on this machine; None if nothing tells.
    """

    case: str
    promise: str
    value: Spread | None
    limit: float
    at_least: bool = False
    note: str = ""
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the median keeps the promise; what was not measured does not."""
        if self.value is None:
            return False
        return self.value[0] >= self.limit if self.at_least else self.value[0] <= self.limit

    @property
    def beyond(self) -> bool:
        """Whether it was missed, and had to be: nothing on this machine could keep the promise."""
        possible = self.at_most is None or self.at_most >= self.limit
        return self.value is not None and not self.met and not possible

    @property
    def verdict(self) -> str:
        """In words."""
        if self.value is None:
            return "not measured"
        return "yes" if self.met else "no, beyond the machine" if self.beyond else "no"


@dataclass(frozen=True)
class Result:
    """What a suite found.

    Attributes:
        suite: its name.
        title: its heading.
        text: what was measured and how to read it.
        tables: the measurements.
        bars: the promises.
    """

    suite: str
    title: str
    text: str
    tables: list[Table]
    bars: list[Bar]

    def all_tables(self) -> list[Table]:
        """The bars, if there are any, then the measurements."""
        if not self.bars:
            return self.tables
        met, beyond = sum(bar.met for bar in self.bars), sum(bar.beyond for bar in self.bars)
        rows: list[tuple[Cell, ...]] = []
        for bar in self.bars:
            median, lower, upper = bar.value or (None, None, None)
            limit = f"{'≥' if bar.at_least else '≤'} {bar.limit:g}"
            rows.append((bar.case, bar.promise, median, lower, upper, limit, bar.at_most, bar.verdict, bar.note))
        columns = ("case", "ratio of", "measured", "quartile 1", "quartile 3", "bar", "at most", "met", "note")
        others = f"; {beyond} of the others are beyond this machine" if beyond else ""
        title = f"{met} of {len(self.bars)} bars are met{others}."
        return [Table(f"{self.suite}_bars", title, columns, rows), *self.tables]


def shown(cell: Cell) -> str:
    """A cell as people read it: three digits or more, no exponents.

    >>> [shown(cell) for cell in (None, "naive", 7, 0.01234, 1.234, 12.34, 1234.5)]
    ['–', 'naive', '7', '0.0123', '1.23', '12.3', '1,234']
    """
    if cell is None or cell == "":
        return "–"
    if isinstance(cell, float):
        size = abs(cell)
        if size < 1:
            return f"{cell:.3g}" if size >= 1e-4 else f"{cell:.6f}"
        return f"{cell:,.0f}" if size >= 100 else f"{cell:.1f}" if size >= 10 else f"{cell:.2f}"
    return str(cell)


def on_terminal(table: Table) -> RichTable:
    """The table for rich to print."""
    result = RichTable(title=table.title, title_justify="left")
    for column, right in zip(table.columns, _numeric(table), strict=True):
        result.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        result.add_row(*map(shown, row))
    return result


def in_markdown(table: Table) -> list[str]:
    """The table's lines."""
    rule = ["---:" if right else "---" for right in _numeric(table)]
    rows = [[shown(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    return [table.title, "", *(f"| {' | '.join(cells)} |" for cells in ([*table.columns], rule, *rows))]


def write_csv(table: Table, folder: Path) -> Path:
    """Writes `<folder>/<name>.csv` with its numbers in full and nothing for None; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(
            [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in table.rows
        )
    return path


def _numeric(table: Table) -> Sequence[bool]:
    """Which columns hold numbers alone."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(not isinstance(cell, str) for cell in column) and bool(column) for column in columns]
