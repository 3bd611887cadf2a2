"""Samplers and sequences: which positions of a k×k window are kept, for every incoming submap.

A *sampler* is the tuple of kept positions `(dy, dx)` of a window, in the order in which they become
submaps. A layer with S incoming submaps has an *assignment*, one sampler for each submap, and a
*sampling method* chooses the assignments of a whole network, level by level, so that a residual branch
and its shortcut always agree. Source: arXiv 1805.10766, the section on sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ccnn.lattice import COMPLEMENTARY, STANDARD, Position, Sampler, lattice

__all__ = ["COMPLEMENTARY", "STANDARD", "Assignment", "Position", "Sampler", "Sampling", "diagonal", "resolve"]

Assignment = tuple[Sampler, ...]


def diagonal(stride: int) -> Sampler:
    """The main diagonal of a stride×stride window: STANDARD for stride 2, n-rooks for any stride."""
    return tuple((i, i) for i in range(stride))


@dataclass(frozen=True)
class Sampling:
    """A sampling method: the assignments of a whole network.

    Args:
        name: `naive` (the diagonal on every submap; what the paper's CIFAR experiments used) or `lattice`
            (samplers chosen so that the samples of all submaps are spread evenly).
    """

    name: str = "naive"

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            near = get_close_matches(self.name, METHODS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"sampling: got {self.name!r}, expected one of {', '.join(METHODS)}.{hint}")

    def assignment(self, strides: Sequence[int]) -> Assignment:
        """The samplers of the layer that is reached through the given strides.

        Args:
            strides: the strides of the multisampling steps on the way from the input, the layer's own last.

        Returns:
            One sampler per incoming submap; a single one where every submap has the same.
        """
        if self.name == "naive":
            return (diagonal(strides[-1]),)
        return lattice(tuple(strides))

    def kept(self, stride: int) -> int:
        """How many positions of a stride×stride window are kept."""
        return stride


METHODS = ("naive", "lattice")


def resolve(sampling: "str | Sampling") -> Sampling:
    """A sampling method by its name, or as it is."""
    return sampling if isinstance(sampling, Sampling) else Sampling(sampling)
