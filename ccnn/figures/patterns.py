"""Sample patterns: which pixels of an image the submaps still hold after each subsampling step."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod, sqrt

import torch
from torch import Tensor

from ccnn.multisampling.samplers import Assignment, Position
from ccnn.multisampling.submaps import offsets


@dataclass(frozen=True)
class Pattern:
    """The samples that are left after some steps.

    Attributes:
        strides: of the steps; empty before the first one, where every pixel is a sample.
        offsets: (dy, dx) of each submap in a cell of side×side pixels, in the order of the submaps.
    """

    strides: tuple[int, ...]
    offsets: tuple[Position, ...]

    @property
    def side(self) -> int:
        """Height and width of the cell that repeats, in pixels: the product of the strides."""
        return prod(self.strides)

    @property
    def kept(self) -> Fraction:
        """The part of all pixels that are samples."""
        return Fraction(len(self.offsets), self.side**2)

    @cached_property
    def distance(self) -> float:
        """The distance between the two nearest samples in pixels, on the torus of a cell.

        Two samples are some way apart if the pattern, shifted by it, meets itself: that is its autocorrelation,
        which takes a Fourier transform where trying all pairs would take hours for the finest patterns.
        """
        if len(self.offsets) == 1:
            return float(self.side)  # the same sample of the next cell
        spectrum = torch.fft.rfft2((self.owners(self.side) >= 0).double())
        meets = torch.fft.irfft2(spectrum.abs().square(), (self.side, self.side)) > 0.5
        away = torch.arange(self.side).minimum(self.side - torch.arange(self.side))
        squares = away[:, None].square() + away.square()
        squares[0, 0] = self.side**2
        return sqrt(int(squares[meets].min()))

    def owners(self, size: int) -> Tensor:
        """The submap that each pixel belongs to, −1 for none: int64, shape (size, size)."""
        cell = torch.full((self.side, self.side), -1)
        for submap, (dy, dx) in enumerate(self.offsets):
            cell[dy, dx] = submap
        repeats = -(-size // self.side)
        return cell.repeat(repeats, repeats)[:size, :size]


def patterns(steps: Sequence[tuple[int, Assignment]]) -> list[Pattern]:
    """The patterns before the first step, after it, and so on.

    Args:
        steps: stride and assignment of each step, such as a conversion report's `steps`.
    """
    strides = tuple(stride for stride, _ in steps)
    return [Pattern(strides[:count], tuple(offsets(steps[:count]))) for count in range(len(steps) + 1)]
