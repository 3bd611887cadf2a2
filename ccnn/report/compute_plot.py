"""Plots test error against training compute: is a CCNN better than a CNN that trains for longer instead?"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ccnn.report.grid import Block, network_name
from ccnn.report.palette import BLACK, COLOURS, MARKERS, figure, plain, png
from ccnn.report.results import Result, results
from ccnn.report.sheets import row_name, short_title

_COLOURS = tuple(colour for colour in COLOURS if colour != BLACK)


def error_vs_training_compute(blocks: Sequence[Block]) -> bytes | None:
    """Draws one panel per block: the CNN at all its compute as a line, each CCNN as a point.

    Blocks whose CNNs have one number of epochs alone are left out.

    Returns:
        The content of a PNG file; None if no block has CNNs trained for longer at a CCNN's compute.
    """
    drawn = [
        (block, lines)
        for block in blocks
        if any(isinstance(line.network, int) for line in results(block))
        and (lines := [line for line in results(block) if line.error and line.training_compute])
    ]
    if not drawn:
        return None
    result = figure(3.6 * len(drawn))
    panels = result.subplots(len(drawn), squeeze=False)[:, 0]
    for axes, (block, lines) in zip(panels, drawn, strict=True):
        _panel(axes, lines)
        axes.set_title(short_title(block), fontsize=9, loc="left")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    return png(result)


def _panel(axes: Axes, lines: list[Result]) -> None:
    looks = zip(_COLOURS * len(lines), (MARKERS[1:] + MARKERS[:1]) * len(lines), strict=False)
    several = len({line.row.model for line in lines}) > 1
    for row in dict.fromkeys(id(line.row) for line in lines):
        mine = [line for line in lines if id(line.row) == row]
        cnns = [line for line in mine if not isinstance(line.network, str)]
        name = f"{row_name(mine[0].row)}: " if several else ""
        if cnns:
            _points(axes, cnns, BLACK, "o", f"{name}CNN", "-")
        for line in mine:
            if isinstance(line.network, str):
                colour, marker = next(looks)
                _points(axes, [line], colour, marker, f"{name}{network_name(line.network)}", "none")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training compute: multiply-adds × images × epochs (logarithmic)")
    axes.set_ylabel("test error, %")
    plain(axes)


def _points(axes: Axes, lines: list[Result], colour: str, marker: str, label: str, style: str) -> None:
    points = [(line.training_compute, line.error.mean, line.error.std or 0.0) for line in lines if line.error]
    x, y, spread = zip(*sorted(points), strict=True)
    face = "white" if style != "none" else colour
    axes.errorbar(
        x, y, yerr=spread, color=colour, marker=marker, markerfacecolor=face, markersize=7, capsize=3,
        linewidth=1.2, linestyle=style, label=label,
    )  # fmt: skip
