"""Sheets as a rich table, Markdown or LaTeX."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

from rich.console import Group as Renderables
from rich.console import RenderableType
from rich.text import Text

from ccnn.report.tables import Sheet

LEGEND = (
    "± is the sample standard deviation over seeds, (n) their number. Gains are percentage points, "
    "paired by seed; the interval is Student's, from 3 pairs on. Ratios (×) are over those of the CNN."
)
"""How to read the numbers of trained networks; every format says it once."""


def rich_tables(sheets: Sequence[Sheet], notes: Sequence[str], legend: str = LEGEND) -> RenderableType:
    """The report for a terminal of 120 characters."""
    parts: list[RenderableType] = []
    for sheet in sheets:
        parts += [Text(sheet.title, style="bold"), _table(sheet)]
        parts += [*(Text(f"{note}", style="dim") for note in sheet.notes), Text()]
    return Renderables(*parts, *(Text(note, style="dim") for note in (*notes, legend)))


def _table(sheet: Sheet) -> Text:
    """A sheet's lines in columns. rich.table has no cells that span columns, which the models' names need."""
    lines = [[_wrapped(cell) for cell in line] for group in sheet.groups for line in group.lines]
    widths = [max([len(part) for cell in column for part in cell] or [0]) for column in zip(*lines, strict=True)]
    header = [
        wrap(name, max(width, *map(len, _WORDS.split(name))))
        for name, width in zip(sheet.header, widths, strict=True)
    ]
    widths = [max(width, *map(len, name)) for width, name in zip(widths, header, strict=True)]
    text = Text(no_wrap=True, overflow="ignore")
    height = max(map(len, header))
    text.append(_aligned([[""] * (height - len(name)) + name for name in header], widths), style="bold")
    text.append("─" * (sum(widths) + len(_GAP) * len(widths)) + "\n", style="dim")
    remaining = iter(lines)
    for group in sheet.groups:
        text.append(f"{group.name}\n", style="cyan")
        for _ in group.lines:
            text.append(_aligned(next(remaining), widths))
    text.rstrip()
    return text


_GAP = "  "
_WORDS = re.compile(r"\s|(?<=-)")
_WIDEST = 21  # characters of a cell; longer ones are broken between words, so that all columns fit 120


def _wrapped(cell: str) -> list[str]:
    """The lines of a cell."""
    return [line for part in cell.split("\n") for line in wrap(part, _WIDEST, break_long_words=False) or [""]]


def _aligned(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """One line of the table, which may be several of text: the first column to the left, others to the right."""
    rows = []
    for first, *others in zip_longest(*cells, fillvalue=""):
        parts = [
            first.ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True)),
        ]
        rows.append(_GAP + _GAP.join(parts).rstrip() + "\n")
    return "".join(rows)


def markdown(sheets: Sequence[Sheet], notes: Sequence[str], legend: str = LEGEND) -> str:
    """The report as GitHub-flavoured Markdown."""
    lines: list[str] = []
    for sheet in sheets:
        lines += [f"## {_escape_markdown(sheet.title)}", "", _markdown_row(sheet.header)]
        lines.append("|---|" + "---:|" * (len(sheet.header) - 1))
        for group in sheet.groups:
            lines.append(f"| **{_escape_markdown(group.name)}** |" + " |" * (len(sheet.header) - 1))
            lines += [_markdown_row(line) for line in group.lines]
        lines += ["", *(f"- {_escape_markdown(note)}" for note in sheet.notes), *([""] if sheet.notes else [])]
    return "\n".join([*lines, *(f"{_escape_markdown(note)}\n" for note in (*notes, legend))])


def latex(sheets: Sequence[Sheet], notes: Sequence[str], legend: str = LEGEND) -> str:
    """The report as LaTeX tables, for a document that uses the package booktabs."""
    lines = [r"% needs \usepackage{booktabs}"]
    for sheet in sheets:
        lines += [r"\begin{table}", r"\centering\small", rf"\caption{{{_escape_latex(sheet.title)}}}"]
        lines += [
            rf"\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}",
            r"\toprule",
            _latex_row(sheet.header),
            r"\midrule",
        ]
        for group in sheet.groups:
            lines.append(rf"\multicolumn{{{len(sheet.header)}}}{{l}}{{{_escape_latex(group.name)}}} \\")
            lines += [r"\quad " + _latex_row(line) for line in group.lines]
        lines += [r"\bottomrule", r"\end{tabular}", *(rf"\par {_escape_latex(note)}" for note in sheet.notes)]
        lines += [r"\end{table}", ""]
    return "\n".join([*lines, *(_escape_latex(note) + "\n" for note in (*notes, legend))])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape_markdown(cell) for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_escape_latex(cell) for cell in cells) + r" \\"


_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\|*_`<>[]"} | {ord("\n"): ", "}

_LATEX = {ord(sign): f"\\{sign}" for sign in "%_&#${}"} | {
    ord("\n"): ", ",
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("×"): r"$\times$",
    ord("±"): r"$\pm$",
    ord("−"): "$-$",
    ord("–"): "--",
    ord("…"): r"\ldots{}",
    ord("·"): r"$\cdot$",
    ord("†"): r"\dag{}",
    ord("‡"): r"\ddag{}",
}


def _escape_markdown(text: str) -> str:
    return text.translate(_MARKDOWN)


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX)
