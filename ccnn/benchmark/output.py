"""Writes measurements as CSV, as a short table in Markdown and as a plot of time against arithmetic."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.figure import Figure

from ccnn.config.processor import cpuinfo
from ccnn.runs.folder import environment

_SHORT: dict[str, tuple[list[str], list[str], str]] = {
    "speed": (["network", "task", "settings"], ["form"], "time, ×"),
    "methods": (["network", "task"], ["form"], "time, ×"),
    "table3": (["network", "task"], ["form"], "time, ×"),
    "layers": (["layer", "submaps", "sampling"], ["task", "settings"], "time, ×"),
    "profile": (["operation"], ["network", "form"], "share, %"),
    "input": (["pipeline"], [], "images/s"),
}
"""Of each suite: rows, columns and values of its short table."""


def write(suite: str, frame: pd.DataFrame, folder: Path, device: str) -> list[Path]:
    """Writes `<suite>.csv` and `<suite>.md`, and the plot if the suite has what it shows; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    csv, page, plot = (folder / f"{suite}.{ending}" for ending in ("csv", "md", "png"))
    frame.to_csv(csv, index=False, float_format="%.6g")
    page.write_text(f"# {suite}\n\n{machine(device)}\n\n{short_table(suite, frame)}\n", encoding="utf-8")
    if "multiply-adds, ×" not in frame:
        return [csv, page]
    time_against_arithmetic(frame).savefig(plot, dpi=150)
    return [csv, page, plot]


def short_table(suite: str, frame: pd.DataFrame) -> str:
    """The suite's main quantity in Markdown.

    Example:
        >>> measured = {"form": ["plain", "naive"], "time, ×": [1, 1.57]}
        >>> frame = pd.DataFrame({"network": "toy", "task": "training"} | measured)
        >>> print(short_table("methods", frame))
        time, ×
        <BLANKLINE>
        | network | task | plain | naive |
        | --- | --- | ---: | ---: |
        | toy | training | 1 | 1.57 |
    """
    rows, columns, values = _SHORT[suite]
    if columns:
        order = frame[columns].drop_duplicates().agg(", ".join, axis=1).tolist()
        frame = frame.assign(column=frame[columns].agg(", ".join, axis=1))
        frame = frame.pivot_table(values, rows, "column", sort=False).reindex(columns=order).reset_index()
    else:
        order, frame = [values], frame[[*rows, values]]
    return f"{values}\n\n{markdown(frame, len(rows))}"


def markdown(frame: pd.DataFrame, names: int = 1) -> str:
    """A table in Markdown; the first `names` columns are aligned left, the others right.

    Example:
        >>> print(markdown(pd.DataFrame({"network": ["toy"], "ms": [1.234]})))
        | network | ms |
        | --- | ---: |
        | toy | 1.23 |
    """
    rule = ["---"] * names + ["---:"] * (frame.shape[1] - names)
    cells = [[_shown(cell) for cell in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [[*frame.columns], rule, *cells])


def fill(page: Path, tables: Mapping[str, str]) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- end of name -->` in a Markdown page.

    Raises:
        ValueError: if the page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (opened and closed):
            raise ValueError(f"{page}: expected a place for a table, {begin.strip()} … {end.strip()}")
        text = f"{before}{begin}{table}{end}{after}"
    page.write_text(text, encoding="utf-8")


def _shown(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return "–" if pd.isna(cell) else f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def time_against_arithmetic(frame: pd.DataFrame) -> Figure:
    """Time over the reference's against multiply-adds over the reference's, one point for each form and task.

    On the dashed line a form costs exactly what its arithmetic does; below it, less.
    """
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6, 5), layout="constrained")
        axes = figure.add_subplot(xscale="log", yscale="log")
        for form, points in frame.groupby("form", sort=False):
            axes.plot(points["multiply-adds, ×"], points["time, ×"], "o", alpha=0.7, label=form)
        limits = [0.9, 1.1 * frame[["multiply-adds, ×", "time, ×"]].max().max()]
        axes.plot(limits, limits, "--", color="grey", linewidth=1, label="time in proportion", zorder=0)
        axes.set(xlabel="multiply-adds, × reference", ylabel="time, × reference")
        axes.legend(frameon=False)
    return figure


def machine(device: str) -> str:
    """One line on what the numbers hold for: date, commit, device, versions."""
    about = environment(seed=0)
    git = about["git"]
    changes = " with changes" if git and git["changed"] else ""
    commit = f"commit {git['commit'][:10]}{changes}" if git else "no git checkout"
    name = cpuinfo("model name") or platform.processor() or platform.machine()
    place = f"{name} ({about['processor']}), {about['threads']} threads of {os.cpu_count()} cores"
    if device == "cuda":
        place = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"{about['date'][:10]}, {commit}. {place}. torch {torch.__version__}, Python {about['python']}."
