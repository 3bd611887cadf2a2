"""The command line of the report: `python scripts/report.py --help`, or `ccnn-report`."""

import sys
from pathlib import Path

from ccnn.cli.arguments import Parser
from ccnn.cli.errors import run_command
from ccnn.errors import UserError, choices
from ccnn.report import trained
from ccnn.report.evaluation import table2
from ccnn.report.group import arrange
from ccnn.report.paper import TABLES
from ccnn.report.records import read_runs, runs_csv
from ccnn.report.table3 import table3
from ccnn.report.tables import FORMATS, write_files

_UNTRAINED = {"table2": table2, "table3": table3}
"""The tables that need no training."""


def main() -> None:
    """Reads the command line; prints the report and writes its files."""
    known = ", ".join(sorted((*TABLES, *_UNTRAINED)))
    parser = Parser("Gathers runs into tables and plots, beside the paper's numbers.")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="folder", help="with runs in it or below; or a runs.csv"
    )
    parser.add_argument("--table", help=f"arrange as in the paper, and show what is missing: {known}")
    parser.add_argument("--format", default="rich", help=f"what is printed: {', '.join(FORMATS)} (default: rich)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write tables, runs.csv and plots there")
    arguments = parser.parse_args()
    run_command(lambda: _report(arguments.paths, arguments.table, arguments.format, arguments.output))


def _report(paths: list[Path], name: str | None, form: str, output: Path | None) -> None:
    if form not in FORMATS:
        raise UserError(f"--format: there is no {form!r}; {choices(form, FORMATS)}")
    if name in _UNTRAINED:
        report = _UNTRAINED[name](paths)
        report.print(form)
        if output:
            _tell([f"Written: {', '.join(map(str, report.write(output, 'table')))}"])
        return
    if name is not None and name not in TABLES:
        raise UserError(f"--table: there is no {name!r}; {choices(name, (*TABLES, *_UNTRAINED))}")
    runs, problems = read_runs(paths)
    _tell(problems)
    table = TABLES[name] if name else None
    grid = arrange(runs, table)
    report = trained.report(grid, table)
    report.print(form)
    if output:
        from ccnn.report.plots import plots  # imports matplotlib, which takes most of a second

        contents, problems = plots(grid)
        written = report.write(output, "table")
        written += write_files(output, {"runs.csv": runs_csv(runs).encode(), **contents})
        _tell([*problems, f"Written: {', '.join(map(str, written))}"])


def _tell(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
