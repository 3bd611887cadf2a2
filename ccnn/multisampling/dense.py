"""A layer that puts submaps back to their places, for heads that predict something for every pixel."""

from torch import Tensor

from .base import Multisampling
from .samplers import Position
from .submaps import to_dense


class ToDense(Multisampling):
    """Puts the submaps of a map back to their places; see `ccnn.multisampling.submaps.to_dense`.

    Put it where the backbone ends, then convert: `convert` tells it which submaps arrive. In a network that is not
    converted it does nothing. It has no parameters.

    Shape: (S·N, C, H, W) → (N, C, H·k, W·k), k being the product of the strides of the multisampling steps.
    """

    stride = 1
    offsets: tuple[Position, ...] = ((0, 0),)
    cell: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.set_submaps(1, (((0, 0),),), "dense")

    @property
    def submaps_out(self) -> int:
        """One: the map of the image."""
        return 1

    def forward(self, x: Tensor) -> Tensor:
        return to_dense(x, self.offsets, self.cell) if self.submaps > 1 else x
