"""Plots test error against training compute: is a CCNN better than a CNN that trains for longer instead?"""

from collections.abc import Sequence
from math import log
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ccnn.report.cells import Result, results
from ccnn.report.compute import same_compute
from ccnn.report.group import Block, network_name
from ccnn.report.paper import BASELINES, NAMES
from ccnn.report.plots import BLACK, COLOURS, MARKERS, figure, plain, png
from ccnn.report.tables import block_title, row_name

_COLOURS = tuple(colour for colour in COLOURS if colour != BLACK)
_MARKERS = tuple(marker for marker in MARKERS if marker != "o")

_STEP = 0.02
"""How far points of one compute stand apart, as a part of the axis."""

_LABEL = 25
"""Characters of a line in the legend."""


def error_vs_training_compute(blocks: Sequence[Block]) -> bytes | None:
    """Draws one panel per block and model: the CNN at all its compute as a line, each CCNN as a point.

    CCNNs of one compute would cover each other and are set a little apart.
    Models whose CNNs have one number of epochs alone are left out.

    Returns:
        The content of a PNG file; None if no model has CNNs trained for longer at a CCNN's compute.
    """
    drawn = [(block, lines) for block in blocks for lines in _by_model(block)]
    if not drawn:
        return None
    networks = sorted({_look(line) for _, lines in drawn for line in lines if isinstance(line.network, str)})
    looks = dict(
        zip(networks, zip(_COLOURS * len(networks), _MARKERS * len(networks), strict=False), strict=False)
    )
    result = figure(3.4 * len(drawn))
    panels = result.subplots(len(drawn), squeeze=False)[:, 0]
    for axes, (block, lines) in zip(panels, drawn, strict=True):
        _panel(axes, lines, looks)
        title = f"{NAMES.get(base := _base(lines[0]), base)}\n{block_title(block)}"
        axes.set_title(title, fontsize=9, loc="left")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    return png(result)


def _by_model(block: Block) -> list[list[Result]]:
    """The lines of each model that has CNNs trained for longer, together with those compared with it."""
    parts: dict[str, list[Result]] = {}
    for line in results(block):
        if line.error and line.training_compute:
            parts.setdefault(_base(line), []).append(line)
    return [lines for lines in parts.values() if any(isinstance(line.network, int) for line in lines)]


def _base(line: Result) -> str:
    """The model that a line's model is compared with, mostly itself."""
    return BASELINES.get(line.row.model, line.row.model)


Look = tuple[bool, str]
"""What has a look of its own in all panels: whether the model exists only converted, and the sampling."""


def _look(line: Result) -> Look:
    return line.row.model in BASELINES, str(line.network)


def _panel(axes: Axes, lines: list[Result], looks: dict[Look, tuple[str, str]]) -> None:
    places = _places(lines)
    for row in dict.fromkeys(id(line.row) for line in lines):
        mine = [line for line in lines if id(line.row) == row]
        first = mine[0].row
        name = "" if first.model == _base(mine[0]) and not first.variant else f"{row_name(first)}: "
        if cnns := [line for line in mine if not isinstance(line.network, str)]:
            _points(axes, [(places[id(line)], line) for line in cnns], f"{name}CNN", BLACK, "o", "-")
        for line in mine:
            if isinstance(line.network, str):
                label = f"{name}{network_name(line.network)}"
                _points(axes, [(places[id(line)], line)], label, *looks[_look(line)], "none")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training compute: multiply-adds × images × epochs (logarithmic)")
    axes.set_ylabel("test error, %")
    plain(axes)


def _places(lines: list[Result]) -> dict[int, float]:
    """Where each line stands: a CNN at its compute, CCNNs of that compute a little right and left of it."""
    computes = [line.training_compute or 0.0 for line in lines]
    step = 1 + _STEP * log(max(computes) / min(computes))
    places: dict[int, float] = {}
    taken: list[float] = []
    for line, compute in zip(lines, computes, strict=True):
        number = 0
        if isinstance(line.network, str):
            taken.append(compute)
            number = sum(same_compute(other, compute) for other in taken)
        places[id(line)] = compute * step ** ((number + 1) // 2 * (1 if number % 2 else -1))
    return places


def _points(
    axes: Axes, points: Sequence[tuple[float, Result]], label: str, colour: str, marker: str, style: str
) -> None:
    shown = sorted((x, line.error.mean, line.error.std or 0.0) for x, line in points if line.error)
    x, y, spread = zip(*shown, strict=True)
    axes.errorbar(
        x, y, yerr=spread, color=colour, marker=marker, markerfacecolor=colour if style == "none" else "white",
        markersize=7, capsize=3, linewidth=1.2, linestyle=style, label=fill(label, _LABEL),
    )  # fmt: skip
