"""What multisampling layers share: their placement in a network, and sampling at several positions of a window."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .samplers import Assignment, Path, Position, Sampling, resolve
from .submaps import unfold
from .windows import Pads, Pair, Size, height_and_width, pair, strides

if TYPE_CHECKING:
    from .draws import Draws

Run = tuple[Position, int]
"""A position, and how many submaps in a row have it."""


@dataclass(frozen=True)
class Placement:
    """All that a layer is told about its place in a network.

    Frozen, so that a layer changes its place in one assignment and never holds half of an old one.

    Args:
        submaps: how many submaps reach the layer.
        samplers: one sampler for each of them, or a single one for all.
        method: name of the sampling method that chose the samplers.
        border: what a shifted window finds beyond the bottom and the right edge; see `Sampling`.
        path: strides of the multisampling steps from the input up to the layer, its own last.
        submaps_training: how many submaps reach it in a training pass that draws; by default, as many.
        draws: the draws of the network, for methods that draw in training.
        offsets: of a layer that restores the dense grid, where each submap's samples sit in a cell of that grid.

    Raises:
        ValueError: if there are neither one nor `submaps` samplers.

    Example:
        >>> from ccnn.multisampling.samplers import COMPLEMENTARY, STANDARD
        >>> Placement(submaps=2, samplers=(STANDARD, COMPLEMENTARY)).submaps_out
        4
    """

    submaps: int = 1
    samplers: Assignment = (((0, 0),),)
    method: str = "traditional"
    border: Literal["zeros", "replicate"] = "zeros"
    path: Path = ()
    submaps_training: int | None = None
    draws: "Draws | None" = field(default=None, repr=False)
    offsets: tuple[Position, ...] = ((0, 0),)
    runs: tuple[tuple[Run, ...], ...] = field(init=False, repr=False, compare=False)
    """For each position kept, in the output's order: the runs of submaps that are evaluated at the same one."""

    def __post_init__(self) -> None:
        if len(self.samplers) not in (1, self.submaps):
            raise ValueError(
                f"expected one sampler or one for each of {self.submaps} submaps, got {len(self.samplers)}"
            )
        samplers = self.samplers if len(self.samplers) > 1 else self.samplers * self.submaps
        runs = tuple(
            tuple((position, len(list(run))) for position, run in groupby(sampler[kept] for sampler in samplers))
            for kept in range(self.kept)
        )
        object.__setattr__(self, "runs", runs)

    @property
    def kept(self) -> int:
        """Positions kept of each window."""
        return len(self.samplers[0])

    @property
    def submaps_out(self) -> int:
        """The number of submaps after the layer: each one becomes as many as positions are kept."""
        return self.submaps * self.kept

    @property
    def in_training(self) -> int:
        """How many submaps reach the layer in a training pass that draws."""
        return self.submaps if self.submaps_training is None else self.submaps_training

    def drawn(self, training: bool) -> bool:
        """Whether the layer uses samplers drawn at random now.

        Args:
            training: the layer's own mode. The network's decides where it is known.
        """
        return self.draws is not None and self.draws.active(training)

    def submaps_now(self, training: bool) -> int:
        """How many submaps reach the layer now; `training` as for `drawn`."""
        return self.in_training if self.drawn(training) else self.submaps

    def run(self, operation: "Operation", x: Tensor, training: bool) -> Tensor:
        """Runs an operation with the submaps and samplers of this moment; `training` as for `drawn`."""
        if self.draws is None or not self.draws.active(training):
            return operation(x, self)
        return self.draws.run(operation, x, self)


Operation = Callable[[Tensor, Placement], Tensor]
"""What a layer computes, from the `submaps`, `runs` and `border` of a placement."""


class Folded:
    """Base of all layers that need to know how many submaps reach them."""

    placement: Placement

    @property
    def submaps(self) -> int:
        """The number of submaps that reach the layer, as `in_channels` is that of its channels."""
        return self.placement.submaps


class Multisampling(Folded, nn.Module):
    """Base of the layers that evaluate an operation at several positions of each stride×stride window."""

    @classmethod
    def refuses(cls, module: nn.Module) -> str | None:
        """Why a strided layer cannot become this one, or None."""
        k, across = strides(module)
        return None if k == across else f"stride ({k}, {across}) differs between the axes"

    @property
    def submaps_out(self) -> int:
        """The number of submaps that the layer yields."""
        return self.placement.submaps_out

    def forward(self, x: Tensor) -> Tensor:
        return self.placement.run(self.multisample, x, self.training)

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        """The layer's operation at the positions that a placement keeps; what a subclass implements.

        Args:
            x: (S·N, C, H, W), of the placement's S submaps.
            placement: not `self.placement`, but that of this pass, with the samplers drawn where they are.

        Returns:
            (S'·N, C', H', W') with S' = `placement.submaps_out`, in the order of `at_positions`.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, submaps={self.submaps}→{self.submaps_out}, {self.placement.method}"


def placed_by_hand(submaps: int, sampling: str | Sampling, stride: Size) -> Placement:
    """The placement of a layer built by hand, where all steps before it had its own stride.

    Raises:
        ValueError: for a number of submaps or a stride that the method does not take, or a method that draws.
    """
    k, across = pair(stride)
    chosen = resolve(sampling)
    if type(submaps) is not int or submaps < 1:
        raise ValueError(f"submaps: expected a whole number of at least 1, got {submaps!r}")
    if k != across:
        raise ValueError(f"stride: multisampling needs the same stride on both axes, got {(k, across)}")
    if chosen.draws:
        raise ValueError(f"sampling: {chosen.name!r} draws for a whole network at once; use ccnn.convert")
    if k == 1:
        return Placement(submaps, method=chosen.name, border=chosen.border)
    if refusal := chosen.refuses(k):
        raise ValueError(f"sampling: {refusal}")
    # A lattice takes 2ⁿ as n steps of 2, so its submaps count in powers of 2 there.
    unit = 2 if chosen.name == "lattice" and not k & (k - 1) else k
    before: Path = ()
    while chosen.kept(unit) > 1 and chosen.kept(unit) ** len(before) < submaps:
        before = (*before, unit)
    path = (*before, k)
    return Placement(submaps, chosen.assignment(path), chosen.name, chosen.border, path)


# --- sampling ----------------------------------------------------------------------------------------------


def at_positions(
    x: Tensor,
    placement: Placement,
    operate: Callable[[Tensor, Position], Tensor],
    pads: Pads,
    reach: Pair,
    gather: bool = False,
) -> Tensor:
    """Runs `operate` at each position kept, on the submaps that are evaluated there.

    One call per position rather than one call on all of them together: the first position then reads the
    input as it is, and only the others need a copy, shifted and padded at once.

    Args:
        x: the input, (S·N, C, H, W).
        placement: its number of submaps, and which positions are kept.
        operate: the operation, strided, at a position, on some of the submaps; it pads. With
            `border="replicate"` the images that it gets are larger.
        pads: what it pads.
        reach: height and width that the unshifted grid of windows reads.
        gather: whether a call is expensive enough to copy the submaps of a position together; otherwise there is
            a call for each run of them that lie side by side.

    Returns:
        (S'·N, C', H', W') in the paper's order: the first position of all submaps, then the second one of all…
    """
    images = unfold(x, placement.submaps).shape[1]

    def at(part: Tensor, position: Position) -> Tensor:
        if placement.border == "replicate":
            part = _continue(part, pads, reach, position)
        return operate(part, position)

    if gather and any(len(runs) > 1 for runs in placement.runs):
        return _gathered(x, images, placement.runs, at)
    outputs = []
    for runs in placement.runs:
        # Split, not sliced: the backward of a split preserves channels_last. Lengths, not one number: a batch may
        # be empty, and an exported one of another size.
        parts = x.split([submaps * images for _, submaps in runs]) if len(runs) > 1 else [x]
        outputs += [at(part, position) for part, (position, _) in zip(parts, runs, strict=True)]
    return torch.cat(outputs)


def _gathered(
    x: Tensor, images: int, runs_kept: tuple[tuple[Run, ...], ...], at: Callable[[Tensor, Position], Tensor]
) -> Tensor:
    """Calls `at` once for each position, on all submaps that are evaluated there."""
    members: dict[Position, list[tuple[int, int]]] = {}
    for kept, runs in enumerate(runs_kept):
        positions = [position for position, submaps in runs for _ in range(submaps)]
        for submap, position in enumerate(positions):
            members.setdefault(position, []).append((kept, submap))
    submaps = x.split([images] * sum(count for _, count in runs_kept[0]))
    outputs: dict[tuple[int, int], Tensor] = {}
    for position, places in members.items():
        output = at(torch.cat([submaps[submap] for _, submap in places]), position)
        outputs |= zip(places, output.split([images] * len(places)), strict=True)
    return torch.cat([outputs[place] for place in sorted(outputs)])


def _continue(x: Tensor, pads: Pads, reach: Pair, shift: Position) -> Tensor:
    """Repeats the last row and column as often as a shifted grid would otherwise read beyond the padding."""
    size = height_and_width(x)
    lacks = (reach[axis] + shift[axis] - size[axis] - sum(pads[axis]) for axis in (0, 1))
    below, right = (min(max(lack, 0), moved) for lack, moved in zip(lacks, shift, strict=True))
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
