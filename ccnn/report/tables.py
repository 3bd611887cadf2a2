"""A report of tables, printed and written as rich text, Markdown, CSV and LaTeX."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from pandas import DataFrame
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from ccnn.errors import UserError
from ccnn.files import write_bytes

FORMATS = ("rich", "markdown", "csv", "latex")
MISSING = "–"
_WIDTH = 120  # characters in a line where the output is no terminal


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: above the table.
        cells: texts, with line breaks where a terminal needs them. The first column holds names; a row with
            nothing else is the heading of those below.
        notes: below it.
    """

    title: str
    cells: DataFrame
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """Tables, and the numbers behind them.

    Attributes:
        tables: in order.
        notes: on the whole, among them how to read the numbers.
        numbers: exact, for the CSV.

    Example:
        >>> cells = DataFrame({"network": ["CNN", "CCNN"], "error, %": ["5.49", "4.90"]})
        >>> report = Report([Table("CIFAR-10", cells)], ["One seed."], DataFrame())
        >>> print(report.text("markdown"), end="")
        ## CIFAR-10
        <BLANKLINE>
        | network | error, % |
        |---|---:|
        | CNN | 5.49 |
        | CCNN | 4.90 |
        <BLANKLINE>
        One seed.

    """

    tables: Sequence[Table]
    notes: Sequence[str]
    numbers: DataFrame

    def text(self, form: str) -> str:
        """The report as `markdown`, `latex` or `csv`."""
        if form == "csv":
            return self.numbers.to_csv(index=False, lineterminator="\n")
        return "\n".join(self._markdown() if form == "markdown" else self._latex())

    def print(self, form: str = "rich") -> None:
        """Prints the report to the standard output."""
        if form != "rich":
            print(self.text(form), end="")
            return
        console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
        for table in self.tables:
            console.print(table.title, style="bold", soft_wrap=True)
            console.print(_rich(table))
            console.print(*table.notes, sep="\n", style="dim", soft_wrap=True, end="\n\n" if table.notes else "\n")
        console.print(*self.notes, sep="\n", style="dim", soft_wrap=True)

    def write(self, folder: Path, name: str, forms: Sequence[str] = ("md", "csv", "tex")) -> list[Path]:
        """Writes `<name>.md`, `.csv` and `.tex` into a folder; returns the paths.

        Raises:
            UserError: the folder cannot be written.
        """
        kinds = {"md": "markdown", "csv": "csv", "tex": "latex"}
        return write_files(folder, {f"{name}.{form}": self.text(kinds[form]).encode() for form in forms})

    def _markdown(self) -> Iterator[str]:
        for table in self.tables:
            columns = table.cells.columns
            yield from (f"## {table.title.translate(_MARKDOWN)}", "")
            rows = [[cell.translate(_MARKDOWN) for cell in row] for row in (columns, *_rows(table))]
            rows = [row if any(row[1:]) else [f"**{row[0]}**", *row[1:]] for row in rows]
            lines = [f"| {' | '.join(row)} |" for row in rows]
            lines.insert(1, "|---|" + "---:|" * (len(columns) - 1))
            yield from (*lines, "", *(f"- {note.translate(_MARKDOWN)}" for note in table.notes))
            yield from [""] if table.notes else []
        yield from (f"{note.translate(_MARKDOWN)}\n" for note in self.notes)

    def _latex(self) -> Iterator[str]:
        yield r"% needs \usepackage{booktabs}"
        for table in self.tables:
            cells = table.cells.rename(columns=_latex_text).map(_latex_text)
            alignment = "l" + "r" * (cells.shape[1] - 1)
            yield from (r"\begin{table}", r"\centering\small", rf"\caption{{{_latex_text(table.title)}}}")
            yield cells.to_latex(index=False, escape=False, column_format=alignment).rstrip()
            yield from (*(rf"\par {_latex_text(note)}" for note in table.notes), r"\end{table}", "")
        yield from (_latex_text(note) + "\n" for note in self.notes)


def grouped(cells: DataFrame) -> DataFrame:
    """Turns the first column, which names groups of rows, into headings.

    Example:
        >>> cells = DataFrame({"model": ["toy", "toy"], "network": ["CNN", "CCNN"], "error": ["5", "4"]})
        >>> grouped(cells).to_numpy().tolist()
        [['toy', ''], ['CNN', '5'], ['CCNN', '4']]

    """
    first, *others = cells.columns
    rows: list[list[str]] = []
    for name, own in cells.groupby(first, sort=False):
        rows += [[str(name), *[""] * (len(others) - 1)], *own[others].to_numpy().tolist()]
    return DataFrame(rows, columns=others)


def find_files(folders: Sequence[Path], name: str, command: str) -> list[Path]:
    """The files of a name in and below some folders, the newest last.

    Raises:
        UserError: a folder does not exist, or there is no such file.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected one that {command} wrote.")
    files = {path.resolve(): path for folder in folders for path in folder.rglob(name)}
    if not files:
        raise UserError(
            f"{', '.join(map(str, folders))}: contains no {name}, nor do the folders below; {command} writes them."
        )
    return sorted(files.values(), key=lambda path: (path.stat().st_mtime, str(path)))


def write_files(folder: Path, contents: Mapping[str, bytes | None]) -> list[Path]:
    """Writes files into a folder, each complete or not at all; None removes the file of an earlier report.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)  # it would contradict the tables
            else:
                write_bytes(folder / name, content)
    except OSError as error:
        raise UserError(f"--output: {error.filename or folder} cannot be written: {error.strerror}.") from error
    return [folder / name for name, content in contents.items() if content is not None]


def _rich(table: Table) -> RichTable:
    result = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(table.cells.columns):
        result.add_column(fill(name, 12), justify="right" if number else "left", overflow="fold")
    rows = _rows(table)
    indent = "" if all(any(row[1:]) for row in rows) else "  "
    for name, *cells in rows:
        if any(cells):
            result.add_row(indent + name, *cells)
        else:
            result.add_row(name, style="cyan")
    return result


def _rows(table: Table) -> list[list[str]]:
    return table.cells.to_numpy().tolist()


_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\|*_`<>[]"} | {ord("\n"): " "}

# pandas escapes ASCII alone, and pdflatex has no − and no † in running text.
_LATEX = {ord(sign): f"\\{sign}" for sign in "%_&#${}"} | {
    ord(sign): text
    for sign, text in {
        "\n": " ", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "–": "--",
        "…": r"\ldots{}", "·": r"$\cdot$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}",
    }.items()
}  # fmt: skip


def _latex_text(text: str) -> str:
    return text.translate(_LATEX)
