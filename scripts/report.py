"""Gathers runs into the paper's tables: `python scripts/report.py outputs/sweeps/table1 --table table1`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser
from ccnn.errors import UserError, choices
from ccnn.report import render, spreadsheets
from ccnn.report.folders import gather
from ccnn.report.group import arrange
from ccnn.report.paper import TABLES
from ccnn.report.table2 import Gathered, table2
from ccnn.report.table3 import table3
from ccnn.report.tables import Sheet, sheet

FORMATS = ("rich", "markdown", "csv", "latex")
WIDTH = 120
"""Characters in a line where the output is no terminal."""
UNTRAINED = {"table2": table2, "table3": table3}
"""The tables that need no training."""


def main() -> None:
    """Reads the command line; prints the report and writes its files."""
    parser, known = Parser(__doc__), sorted((*TABLES, *UNTRAINED))
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder", help="holds runs, in it or below")
    parser.add_argument("--table", help=f"arrange as in the paper, with what is missing: {', '.join(known)}")
    parser.add_argument("--format", default="rich", help=f"what is printed: {', '.join(FORMATS)} (default: rich)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write tables, runs.csv and plots there")
    arguments = parser.parse_args()
    try:
        report(arguments.folders, arguments.table, arguments.format, arguments.output)
    except UserError as error:
        sys.exit(f"Error: {error}")
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()


def report(folders: list[Path], name: str | None, form: str, output: Path | None) -> None:
    """Prints the report of some folders and writes its files.

    Raises:
        UserError: a name is unknown, a folder does not exist, holds no usable run or cannot be written.
    """
    if form not in FORMATS:
        raise UserError(f"--format: there is no {form!r}; {choices(form, FORMATS)}")
    if name in UNTRAINED:
        untrained(UNTRAINED[name](folders), form, output)
        return
    if name is not None and name not in TABLES:
        raise UserError(f"--table: there is no {name!r}; {choices(name, (*TABLES, *UNTRAINED))}")
    runs, problems = gather(folders)
    for problem in problems:
        print(problem, file=sys.stderr)
    table = TABLES[name] if name else None
    blocks, notes = arrange(runs, table)
    sheets = [sheet(block, table) for block in blocks]
    show(form, sheets, notes, render.LEGEND, lambda: spreadsheets.cells(blocks))
    if output:
        from ccnn.report.files import write  # brings matplotlib, which takes most of a second

        written, problems = write(output, blocks, sheets, notes, runs)
        for line in (*problems, f"Written: {', '.join(map(str, written))}"):
            print(line, file=sys.stderr)


def untrained(table: Gathered, form: str, output: Path | None) -> None:
    """Prints a table that needs no training and writes its files."""
    spreadsheet = spreadsheets.csv_text(table.rows)
    show(form, table.sheets, table.notes, table.legend, lambda: spreadsheet)
    if output:
        from ccnn.report.files import write_files  # as above

        texts = {
            "table.md": render.markdown(table.sheets, table.notes, table.legend),
            "table.csv": spreadsheet,
            "table.tex": render.latex(table.sheets, table.notes, table.legend),
        }
        written, _ = write_files(output, {name: text.encode() for name, text in texts.items()})
        print(f"Written: {', '.join(map(str, written))}", file=sys.stderr)


def show(
    form: str, sheets: Sequence[Sheet], notes: Sequence[str], legend: str, spreadsheet: Callable[[], str]
) -> None:
    """Prints a report in one of the formats."""
    if form == "rich":
        console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
        console.print(render.rich_tables(sheets, notes, legend))
    elif form == "csv":
        print(spreadsheet(), end="")
    else:
        print({"markdown": render.markdown, "latex": render.latex}[form](sheets, notes, legend), end="")


if __name__ == "__main__":
    main()
