"""Plots of trained networks: error against the cost of inference and of training, and learning curves."""

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from ccnn.palette import CATEGORIES
from ccnn.report.cells import numbers
from ccnn.report.group import CELL, Grid, network_order, same_compute
from ccnn.report.trained import block_title

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in CATEGORIES)
"""The palette as matplotlib wants it."""

_BLACK, _MARKERS = COLOURS[-1], ("s", "^", "D", "v", "P", "X", "o")
_STYLES = {"val/error": "-", "train/error": ":"}
_MARKED = 4  # markers of a curve, which tell networks apart where colours do not
_STEP = 1.04  # CCNNs of one compute would cover each other: they stand this factor apart

Looks = dict[Any, tuple[str, str]]
"""Colour and marker of each network."""


def plots(grid: Grid) -> tuple[dict[str, bytes | None], list[str]]:
    """Draws all plots.

    Returns:
        The content of each PNG file, 800 pixels wide, None if no run has what it would show; and a line for each
        metrics.csv that cannot be read and each plot that is missed.
    """
    problems: list[str] = []
    cells = numbers(grid)
    drawn: dict[str, Figure | None] = {
        "error_vs_multiply_adds.png": _error_vs_multiply_adds(grid, cells),
        "error_vs_training_compute.png": _error_vs_training_compute(grid, cells),
        "learning_curves.png": _learning_curves(grid, problems),
    }
    # Only studies have CNNs that were trained for longer; elsewhere nobody misses the second plot.
    missed = [name for name, figure in drawn.items() if figure is None and "compute" not in name]
    problems += [f"{name}: not written, no run has what it would show." for name in missed]
    return {name: None if figure is None else _png(figure) for name, figure in drawn.items()}, problems


def read_curves(folder: Path, problems: list[str]) -> pd.DataFrame:
    """Reads the errors of each epoch, counted from 1, from a run's metrics.csv; empty if there are none."""
    path = Path(folder) / "metrics.csv"
    try:
        log = pd.read_csv(path)
        curves = log.reindex(columns=[*_STYLES]).astype(float).groupby(log["epoch"].astype(int) + 1).last()
    except FileNotFoundError:  # logger=none, or a runs.csv whose folders are elsewhere
        return pd.DataFrame()
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        problems.append(f"{path}: skipped; it cannot be read as a table with a column epoch: {reason}.")
        return pd.DataFrame()
    return curves.rename_axis("epoch")


def _error_vs_multiply_adds(grid: Grid, cells: pd.DataFrame) -> Figure | None:
    """One panel per block: a colour per model, a marker per network, a line from CNN to CCNN."""
    cells = cells[cells["test_error"].notna() & cells["multiply_adds"].notna() & cells["longer"].isna()]
    if cells.empty:
        return None
    colours = dict(zip(cells["row"].unique(), cycle(COLOURS), strict=False))
    markers = dict(
        zip(sorted(cells["network"].unique(), key=network_order), cycle(("o", *_MARKERS)), strict=False)
    )

    def panel(axes: Axes, own: pd.DataFrame) -> None:
        for row, points in own.groupby("row", sort=False):
            for point in points.to_dict("records"):
                x, y = point["multiply_adds"], point["test_error"]
                first = points.iloc[0]  # the CNN, or else the first CCNN
                axes.plot([first["multiply_adds"], x], [first["test_error"], y], color=colours[row], alpha=0.6)
                _point(axes, x, point, colours[row], markers[point["network"]], f"{row}, {point['network']}")
        axes.set_xlabel("multiply-adds per image (logarithmic)")

    return _panels(grid, cells, ["block"], panel)


def _error_vs_training_compute(grid: Grid, cells: pd.DataFrame) -> Figure | None:
    """One panel per block and model that has CNNs trained for longer: these as a line, each CCNN as a point."""
    cells = cells[cells["test_error"].notna() & cells["training_compute"].notna()]
    studied = cells[cells["longer"].notna()].set_index(["block", "against"]).index
    cells = cells[cells.set_index(["block", "against"]).index.isin(studied)]
    if cells.empty:
        return None
    own = cells["row"] == cells["against"]
    cells = cells.assign(label=cells["network"].where(own, cells["row"] + ": " + cells["network"]))
    labels = sorted(cells.loc[cells["sampling"].notna(), "label"].unique())
    looks: Looks = dict(zip(labels, zip(cycle(COLOURS[:-1]), cycle(_MARKERS[:-1]), strict=False), strict=False))

    def panel(axes: Axes, own: pd.DataFrame) -> None:
        cnns = own[own["sampling"].isna()]
        compute, error, std = (cnns[name] for name in ("training_compute", "test_error", "test_error_std"))
        axes.errorbar(compute, error, std, color=_BLACK, marker="o", capsize=3, label="CNN")
        placed: list[float] = []
        for cell in own[own["sampling"].notna()].to_dict("records"):
            compute = cell["training_compute"]
            places = sum(same_compute(other, compute) for other in placed)
            placed.append(compute)
            _point(axes, compute * _STEP**places, cell, *looks[cell["label"]], cell["label"])
        axes.set_xlabel("training compute: multiply-adds × images × epochs (logarithmic)")

    return _panels(grid, cells, ["block", "against"], panel)


def _learning_curves(grid: Grid, problems: list[str]) -> Figure | None:
    """One panel per model and block: the mean over seeds, with a band of one standard deviation."""
    runs = grid.runs[grid.runs["test/error"].notna() & grid.runs["longer"].isna()]
    read = [
        read_curves(run["folder"], problems).reset_index().assign(**{name: run[name] for name in CELL})
        for run in runs.to_dict("records")
    ]
    curves = pd.concat([curve for curve in read if len(curve)] or [pd.DataFrame()])
    if curves.empty:
        return None
    names = sorted(curves["network"].unique(), key=network_order)
    looks: Looks = dict(zip(names, zip(cycle(COLOURS), cycle(("o", *_MARKERS)), strict=False), strict=False))

    def panel(axes: Axes, own: pd.DataFrame) -> None:
        protocol = grid.blocks[own["block"].iloc[0]].protocol
        for network in names:
            for column, style in _STYLES.items():
                by = own[own["network"] == network].dropna(subset=column).groupby("epoch")[column]
                mean, std = by.mean(), by.std().fillna(0)
                if mean.empty:
                    continue
                colour, marker = looks[network]
                held_out = "test" if protocol == "paper" else "validation"
                label = f"{network}, {held_out if column == 'val/error' else 'training'}"
                axes.plot(
                    mean, style, color=colour, marker=marker, markevery=ceil(len(mean) / _MARKED), label=label
                )
                # A logarithmic axis has no zero, and what is near it would take up most of the axis.
                low = (mean - std).clip(lower=mean / 2).clip(lower=1e-3)
                axes.fill_between(mean.index, low, mean + std, color=colour, alpha=0.2, linewidth=0)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")

    return _panels(grid, curves, ["block", "row"], panel, log=False)


def _panels(
    grid: Grid,
    data: pd.DataFrame,
    keys: Sequence[str],
    panel: Callable[[Axes, pd.DataFrame], None],
    log: bool = True,
) -> Figure:
    """A figure with one panel below the other, each with a legend to its right."""
    parts = list(data.groupby(list(keys), sort=False))
    figure = Figure(figsize=(8.0, 0.3 + 3.3 * len(parts)), dpi=100, layout="constrained")
    for axes, (key, own) in zip(figure.subplots(len(parts), squeeze=False)[:, 0], parts, strict=True):
        panel(axes, own)
        title = block_title(grid.blocks[key[0]], conditions=log)
        axes.set_title("\n".join([*map(str, key[1:]), title]), fontsize=9, loc="left")
        axes.set_ylabel("test error, %" if log else "error, % (logarithmic)")
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axes.xaxis.set_major_formatter(EngFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    return figure


def _point(axes: Axes, x: float, cell: dict[str, Any], colour: str, marker: str, label: str) -> None:
    """A cell's error with a bar of one standard deviation; the CNN's marker is hollow."""
    face = "white" if cell["sampling"] is None else colour
    axes.errorbar(x, cell["test_error"], cell["test_error_std"], color=colour, marker=marker, markerfacecolor=face,
                  capsize=3, linestyle="none", label=label)  # fmt: skip


def _png(figure: Figure) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes."""
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
