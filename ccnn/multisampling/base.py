"""What all multisampling layers share: an operation runs at several positions of each stride×stride window."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .draws import Folded, Path
from .samplers import Assignment, Position, Sampling, resolve
from .submaps import unfold

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
"""Rows above and below, columns left and right."""
Size = int | tuple[int, int]
_Run = tuple[Position, int]
"""A position, and how many submaps in a row have it."""


def pair(value: Any) -> Pair:
    """A size along both axes; PyTorch's layers take one number for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def height_and_width(x: Tensor) -> Pair:
    """The size of a batch of feature maps.

    Raises:
        ValueError: if there is no batch.
    """
    if x.ndim != 4:
        raise ValueError(f"expected a batch of feature maps (S·N, C, H, W), got the shape {tuple(x.shape)}")
    return x.shape[2], x.shape[3]


def strides(layer: nn.Module) -> Pair:
    """The strides of a convolution or pooling along both axes."""
    stride, kernel_size = (getattr(layer, name, None) for name in ("stride", "kernel_size"))
    return pair(kernel_size if stride is None else stride)  # nn.LPPool2d keeps None


class Multisampling(Folded, nn.Module):
    """The base of multisampling layers.

    Attributes:
        samplers: one sampler per submap, or a single one for all of them.
        method: name of the sampling method that chose them.
        border: `zeros` or `replicate`: what a shifted window finds beyond the bottom and the right edge; see
            `Sampling`.
        path: the layer's level, by which it finds its samplers in `draws`.
        where, settings: of a functional pooling, the name of the call and its arguments.
    """

    samplers: Assignment
    method: str
    border: str = "zeros"
    path: Path = ()
    where: str
    settings: dict[str, Any]
    _runs: tuple[tuple[_Run, ...], ...]

    def set_submaps(self, submaps: int, samplers: Assignment, method: str) -> None:
        """Tells the layer what it receives and which positions it keeps."""
        if len(samplers) not in (1, submaps):
            raise ValueError(f"expected one sampler or one for each of {submaps} submaps, got {len(samplers)}")
        self.submaps = self.submaps_training = submaps
        self.samplers, self.method, self._runs = samplers, method, _runs(samplers)

    def _set_sampling(self, submaps: int, sampling: str | Sampling, stride: Size) -> None:
        """For layers built by hand, where all steps before have the layer's own stride."""
        k, across = pair(stride)
        chosen = resolve(sampling)
        if type(submaps) is not int or submaps < 1:
            raise ValueError(f"submaps: expected a whole number of at least 1, got {submaps!r}")
        if k != across:
            raise ValueError(f"stride: multisampling needs the same stride on both axes, got {(k, across)}")
        if chosen.draws:
            raise ValueError(f"sampling: {chosen.name!r} draws for a whole network at once; use ccnn.convert")
        samplers: Assignment = (((0, 0),),)
        if k > 1:
            if refusal := chosen.refuses(k):
                raise ValueError(f"sampling: {refusal}")
            steps, reached = 0, 1
            unit = 2 if chosen.name == "lattice" and not k & (k - 1) else k
            while reached < submaps and chosen.kept(unit) > 1:
                steps, reached = steps + 1, reached * chosen.kept(unit)
            samplers = chosen.assignment((unit,) * steps + (k,))
        self.set_submaps(submaps, samplers, chosen.name)
        self.border = chosen.border

    @classmethod
    def refuses(cls, module: nn.Module) -> str | None:
        """Why a strided layer cannot become this one, or None."""
        k, across = strides(module)
        return None if k == across else f"stride ({k}, {across}) differs between the axes"

    @property
    def kept(self) -> int:
        """Positions kept of each window; S submaps become S·kept."""
        return len(self.samplers[0])

    @property
    def submaps_out(self) -> int:
        """The number of submaps that the layer yields."""
        return self.submaps * self.kept

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, submaps={self.submaps}→{self.submaps_out}, {self.method}"

    def _sample(
        self,
        x: Tensor,
        pads: Pads,
        reach: Pair,
        operate: Callable[[Tensor, Position], Tensor],
        gather: bool = False,
    ) -> Tensor:
        """Runs `operate` at each position kept, on the submaps that are evaluated there.

        One call per position rather than one call on all of them together: the first position then reads the
        input as it is, and only the others need a copy, shifted and padded at once.

        Args:
            x: the input, (S·N, C, H, W).
            pads: what the layer pads.
            reach: height and width that the unshifted grid of windows reads.
            operate: the layer's operation, strided, at a position, on some of the submaps; it pads. With
                `border="replicate"` the images that it gets are larger.
            gather: whether a call is dear enough to copy the submaps of a position together; otherwise there is
                a call for each run of them that lie side by side.
        """
        runs = self._runs
        if self.draws is not None and self.draws.current is not None and self.path:
            runs = _runs(self.draws.current[self.path])
        if x.shape[0] % self.submaps_now:
            unfold(x, self.submaps_now)  # says what is wrong

        def at(part: Tensor, position: Position) -> Tensor:
            if self.border == "replicate":
                part = _continue(part, pads, reach, position)
            return operate(part, position)

        if gather and any(len(kept) > 1 for kept in runs):
            return _gathered(x.split(x.shape[0] // self.submaps_now), runs, at)
        outputs = []
        for kept in runs:
            images = x.shape[0] // sum(submaps for _, submaps in kept)
            # Other than slicing's, the backward of a split keeps channels_last.
            parts = x.split([submaps * images for _, submaps in kept]) if len(kept) > 1 else [x]
            outputs += [at(part, position) for part, (position, _) in zip(parts, kept, strict=True)]
        return torch.cat(outputs)


def _gathered(
    submaps: Sequence[Tensor], runs: Sequence[Sequence[_Run]], at: Callable[[Tensor, Position], Tensor]
) -> Tensor:
    """Calls `at` once for each position, on all submaps that are evaluated there."""
    members: dict[Position, list[tuple[int, int]]] = {}
    for kept, run in enumerate(runs):
        positions = [position for position, count in run for _ in range(count)]
        for submap, position in enumerate(positions):
            members.setdefault(position, []).append((kept, submap))
    outputs: dict[tuple[int, int], Tensor] = {}
    for position, places in members.items():
        found = at(torch.cat([submaps[submap] for _, submap in places]), position)
        outputs |= zip(places, found.split(submaps[0].shape[0]), strict=True)
    return torch.cat([outputs[place] for place in sorted(outputs)])


def cut(x: Tensor, start: Pair, size: Pair, value: float = 0.0) -> Tensor:
    """The window of a map that begins at `start`, `size` high and wide; `value` where it lies off the map.

    By F.pad, whose backward keeps channels_last, other than slicing's.
    """
    amounts = []
    for axis in (1, 0):
        before = max(-start[axis], -x.shape[2 + axis])
        amounts += [before, size[axis] - x.shape[2 + axis] - before]
    return F.pad(x, amounts, value=value) if any(amounts) else x


def _continue(x: Tensor, pads: Pads, reach: Pair, shift: Position) -> Tensor:
    """Repeats the last row and column as often as a shifted grid would otherwise read beyond the padding."""
    lacks = (reach[axis] + shift[axis] - x.shape[2 + axis] - sum(pads[axis]) for axis in (0, 1))
    below, right = (min(max(lack, 0), moved) for lack, moved in zip(lacks, shift, strict=True))
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


def _runs(samplers: Assignment) -> tuple[tuple[_Run, ...], ...]:
    """For each position kept, in the output's order: the runs of submaps that are evaluated at the same one."""
    return tuple(
        tuple((position, len(list(run))) for position, run in groupby(sampler[kept] for sampler in samplers))
        for kept in range(len(samplers[0]))
    )


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    """Height and width of a strided layer's output, by PyTorch's rule."""

    def along(axis: int) -> int:
        room = size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        if not ceil_mode:
            return room // stride[axis] + 1
        windows = -(-room // stride[axis]) + 1
        # The last window must start inside the input or its left padding.
        return windows - ((windows - 1) * stride[axis] >= size[axis] + padding[axis])

    return along(0), along(1)


def reach_of(windows: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Height and width that a grid of windows reads."""
    return (
        (windows[0] - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1,
        (windows[1] - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1,
    )
