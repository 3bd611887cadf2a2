"""The look that the report's plots share."""

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccnn.palette import CATEGORIES

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in CATEGORIES)
"""The palette as matplotlib wants it."""
BLACK = COLOURS[-1]

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
