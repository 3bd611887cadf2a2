"""Colours that everybody can tell apart, and the look that the report's plots share."""

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#888888"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
"""Okabe & Ito's with grey, without the yellow, which is too light for lines on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH = 8.0
"""Inches; 800 pixels."""


def figure(height: float) -> Figure:
    """An empty figure, 800 pixels wide.

    Args:
        height: in inches of 100 pixels.
    """
    return Figure(figsize=(WIDTH, height), dpi=100, layout="constrained")


def plain(axes: Axes) -> None:
    """Leaves of a plot's frame what helps to read values."""
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png(drawn: Figure) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes."""
    content = BytesIO()
    drawn.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
