"""Gathers runs into the paper's tables: `python scripts/report.py outputs/sweeps/table1 --table table1`."""

import sys
from pathlib import Path

from rich.console import Console

from ccnn.command_line.arguments import Parser
from ccnn.errors import UserError, choices
from ccnn.report import render, spreadsheets
from ccnn.report.folders import gather
from ccnn.report.grid import arrange
from ccnn.report.published import TABLES
from ccnn.report.sheets import sheet

FORMATS = ("rich", "markdown", "csv", "latex")
WIDTH = 120
"""Characters in a line where the output is no terminal."""
UNTRAINED = {"table2": "scripts/evaluate.py", "table3": "scripts/benchmark.py"}


def main() -> None:
    """Reads the command line; prints the report and writes its files."""
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder", help="holds runs, in it or below")
    parser.add_argument("--table", help=f"arrange as in the paper, with what is missing: {', '.join(TABLES)}")
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
        raise UserError(f"--table: {name} is not made of runs of train.py but by {UNTRAINED[name]}.")
    if name is not None and name not in TABLES:
        raise UserError(f"--table: there is no {name!r}; {choices(name, TABLES)}")
    runs, problems = gather(folders)
    for problem in problems:
        print(problem, file=sys.stderr)
    table = TABLES[name] if name else None
    blocks, notes = arrange(runs, table)
    sheets = [sheet(block, table) for block in blocks]
    if form == "rich":
        console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
        console.print(render.rich_tables(sheets, notes))
    elif form == "csv":
        print(spreadsheets.cells(blocks), end="")
    else:
        print({"markdown": render.markdown, "latex": render.latex}[form](sheets, notes), end="")
    if output:
        from ccnn.report.files import write  # brings matplotlib, which takes most of a second

        written, problems = write(output, blocks, sheets, notes, runs)
        for line in (*problems, f"Written: {', '.join(map(str, written))}"):
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
