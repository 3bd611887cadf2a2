"""Plots learning curves: CNN and CCNN, the mean over seeds with a band of one standard deviation."""

import csv
from collections.abc import Sequence
from math import ceil, isfinite
from textwrap import wrap
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ccnn.report.group import Block, Row, network_name, network_order
from ccnn.report.plots import COLOURS, MARKERS, figure, plain, png
from ccnn.report.runs import Network, Run
from ccnn.report.statistics import summarise
from ccnn.report.tables import row_name, short_title

_STYLES = {"val/error": "-", "train/error": ":"}

_MARKED = 4
"""Markers of a curve, which tell networks apart where colours do not."""

_TITLE = 60
"""Characters of a title's line above a panel 400 pixels wide."""

Curve = dict[int, float]
"""An error in percent for each epoch, counted from 1."""


def learning_curves(blocks: Sequence[Block], problems: list[str]) -> bytes | None:
    """Draws one panel per model and block, without the CNNs that were trained for longer.

    Args:
        blocks: their finished runs are drawn.
        problems: gets a line for each metrics.csv that cannot be read.

    Returns:
        The content of a PNG file; None if no run has curves.
    """
    panels = []
    for block in blocks:
        for row in block.rows:
            curves: dict[Network, list[dict[str, Curve]]] = {
                network: [curve for run in runs if run.finished and (curve := read_curves(run, problems))]
                for network, runs in row.cells.items()
                if not isinstance(network, int)
            }
            if any(curves.values()):
                panels.append((block, row, curves))
    if not panels:
        return None
    columns = min(2, len(panels))
    height = ceil(len(panels) / columns)
    result = figure(0.9 + 2.9 * height)
    grid = list(result.subplots(height, columns, squeeze=False).flat)
    networks = sorted({network for _, _, curves in panels for network in curves}, key=network_order)
    looks = {network: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, network in enumerate(networks)}
    labels: dict[Any, Artist] = {}
    for axes, (block, row, curves) in zip(grid, panels, strict=False):
        _panel(axes, block, row, curves, looks)
        labels |= {name: line for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    for axes in grid[len(panels) :]:
        axes.remove()
    result.legend(labels.values(), labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return png(result)


def read_curves(run: Run, problems: list[str]) -> dict[str, Curve]:
    """Reads the errors of each epoch from a run's metrics.csv; empty if there are none."""
    path = run.folder / "metrics.csv"
    curves: dict[str, Curve] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                for name in _STYLES:
                    if text := line.get(name):
                        value, epoch = float(text), round(float(line["epoch"])) + 1
                        if isfinite(value):
                            curves.setdefault(name, {})[epoch] = value
    except FileNotFoundError:
        return {}  # logger=none
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        problems.append(f"{path}: skipped; it cannot be read as a table with a column epoch: {error}.")
        return {}
    return curves


def _panel(
    axes: Axes,
    block: Block,
    row: Row,
    curves: dict[Network, list[dict[str, Curve]]],
    looks: dict[Network, tuple[str, str]],
) -> None:
    held_out = "test" if block.condition and block.condition.protocol == "paper" else "validation"
    lowest = []
    for place, (network, mine) in enumerate(curves.items()):
        colour, marker = looks[network]
        for name, style in _STYLES.items():
            found = [curve[name] for curve in mine if name in curve]
            if not found:
                continue
            epochs = sorted({epoch for curve in found for epoch in curve})
            each = [summarise([curve[epoch] for curve in found if epoch in curve]) for epoch in epochs]
            label = f"{network_name(network)}, {held_out if name == 'val/error' else 'training'}"
            gap = ceil(len(epochs) / _MARKED)
            first = place * gap // len(curves)  # networks are marked at different epochs
            axes.plot(
                epochs,
                [point.mean for point in each],
                style,
                color=colour,
                marker=marker,
                markevery=(first, gap),
                markersize=5,
                linewidth=1.4,
                label=label,
            )
            # A logarithmic axis has no zero, and what is near it would take up most of the axis.
            low = [max(point.mean - (point.std or 0), point.mean / 2, 1e-3) for point in each]
            axes.fill_between(
                epochs,
                low,
                [point.mean + (point.std or 0) for point in each],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
            lowest.append((name != "val/error", min(low)))
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(min(lowest)[1] * 0.7, 0.01))  # training errors may leave the frame, others do not
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("error, % (logarithmic)")
    axes.set_title("\n".join([*wrap(row_name(row), _TITLE), short_title(block)]), fontsize=8, loc="left")
    plain(axes)
