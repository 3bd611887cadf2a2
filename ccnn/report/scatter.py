"""Plots test error against multiply-adds: what each network's accuracy costs."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ccnn.report.cells import Result, results
from ccnn.report.group import Block, network_name, network_order
from ccnn.report.plots import COLOURS, MARKERS, figure, plain, png
from ccnn.report.runs import Network
from ccnn.report.tables import block_title, row_name


def error_vs_multiply_adds(blocks: Sequence[Block]) -> bytes | None:
    """Draws one panel per block: a colour per model, a marker per network, a line from CNN to CCNN.

    CNNs that only trained for longer are left out, being no other networks.

    Returns:
        The content of a PNG file; None if no run has both numbers.
    """
    lines = {
        number: [
            line
            for line in results(block)
            if line.error and line.multiply_adds and not isinstance(line.network, int)
        ]
        for number, block in enumerate(blocks)
    }
    lines = {number: mine for number, mine in lines.items() if mine}
    if not lines:
        return None
    drawn = [line for mine in lines.values() for line in mine]
    colours = dict(zip(dict.fromkeys(row_name(line.row) for line in drawn), COLOURS * len(drawn), strict=False))
    networks = sorted({line.network for line in drawn}, key=network_order)
    markers = dict(zip(networks, MARKERS * len(networks), strict=False))
    result = figure(1.0 + 3.3 * len(lines) + 0.12 * len(colours))
    panels = result.subplots(len(lines), squeeze=False)[:, 0]
    for axes, (number, mine) in zip(panels, lines.items(), strict=True):
        _panel(axes, mine, colours, markers)
        axes.set_title(block_title(blocks[number]), fontsize=9, loc="left")
    handles = [
        *(Line2D([], [], color=colour, label=name, linewidth=2) for name, colour in colours.items()),
        *(_sample(network, marker) for network, marker in markers.items()),
    ]
    result.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return png(result)


def _panel(axes: Axes, lines: list[Result], colours: dict[str, str], markers: dict[Network, str]) -> None:
    rows = {row_name(line.row): [other for other in lines if other.row is line.row] for line in lines}
    for name, mine in rows.items():
        points = [(line.multiply_adds or 0.0, line.error.mean) for line in mine if line.error]
        for point in points[1:]:  # the first is the CNN, or else the first CCNN
            axes.plot(*zip(points[0], point, strict=True), color=colours[name], linewidth=1, alpha=0.6)
        for line, (x, y) in zip(mine, points, strict=True):
            axes.errorbar(
                x,
                y,
                yerr=line.error.std if line.error else None,
                color=colours[name],
                marker=markers[line.network],
                markerfacecolor="white" if line.network is None else colours[name],
                markersize=6,
                capsize=3,
                linestyle="none",
            )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 5 else range(1, 10)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("multiply-adds per image (logarithmic)")
    axes.set_ylabel("test error, %")
    plain(axes)


def _sample(network: Network, marker: str) -> Line2D:
    """A grey marker for the legend; the CNN's is hollow."""
    face = "white" if network is None else "#555555"
    return Line2D(
        [], [], color="#555555", marker=marker, markerfacecolor=face, linestyle="none", label=network_name(network)
    )
