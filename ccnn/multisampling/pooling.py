"""Multisampling poolings."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Multisampling, Placement, at_positions, placed_by_hand
from .samplers import Position, Sampling
from .windows import Pads, Pair, Size, cut, height_and_width, output_size, pair, reach_of, strides

_NONE: Pads = ((0, 0), (0, 0))


class Windows(NamedTuple):
    """The windows of a pooling, and what it pads; fields as the arguments of PyTorch's poolings."""

    kernel: Pair
    stride: Pair
    pads: Pads = _NONE
    dilation: Pair = (1, 1)
    ceil_mode: bool = False


def max_pool2d(x: Tensor, placement: Placement, windows: Windows) -> Tensor:
    """F.max_pool2d at the positions that a placement keeps: (S·N, C, H, W) → (S'·N, C, H', W').

    Padding and what lies beyond the border never win: both are −inf. A window that a shift moved off the input
    altogether gives 0, as beyond the border there are zeros.

    Example:
        >>> placement = Placement(samplers=(((0, 0), (1, 1)),))
        >>> max_pool2d(torch.arange(4.0).view(1, 1, 2, 2), placement, Windows((2, 2), (2, 2))).flatten().tolist()
        [3.0, 3.0]
    """

    def pool(x: Tensor, padding: Pair, ceil_mode: bool) -> Tensor:
        out = F.max_pool2d(x, windows.kernel, windows.stride, padding, windows.dilation, ceil_mode)
        # The taps of a dilated window can step over a small input altogether.
        return out if windows.dilation == (1, 1) else out.masked_fill(out == -inf, 0.0)

    return _pool(x, placement, windows, -inf, pool)


def avg_pool2d(
    x: Tensor, placement: Placement, windows: Windows, count_include_pad: bool = True, divisor: int | None = None
) -> Tensor:
    """F.avg_pool2d at the positions that a placement keeps: (S·N, C, H, W) → (S'·N, C, H', W').

    What lies beyond the border are zeros that count as padding does; a window with nothing to count gives 0.
    """
    all_counts = divisor is None and count_include_pad and not windows.ceil_mode

    def pool(x: Tensor, padding: Pair, ceil_mode: bool) -> Tensor:
        # Not by a divisor of k², which ONNX's exporters ignore.
        return F.avg_pool2d(x, windows.kernel, windows.stride, padding, ceil_mode, all_counts, divisor)

    if all_counts or divisor:
        return _pool(x, placement, windows, 0.0, pool, may_round_up=not all_counts)
    return _pool(x, placement, windows, 0.0, pool, windows.pads if count_include_pad else _NONE)


def lp_pool2d(x: Tensor, placement: Placement, norm_type: float, windows: Windows) -> Tensor:
    """F.lp_pool2d at the positions that a placement keeps: (S·N, C, H, W) → (S'·N, C, H', W').

    What lies beyond the border are zeros; a window without any element of the input gives 0.
    """
    total = windows.kernel[0] * windows.kernel[1] * avg_pool2d(x.pow(norm_type), placement, windows)
    # As PyTorch has it: the gradient of a window of zeros is 0, not NaN.
    return (torch.sign(total) * F.relu(torch.abs(total))).pow(1 / norm_type)


def _pool(
    x: Tensor,
    placement: Placement,
    windows: Windows,
    border: float,
    pool: Callable[[Tensor, Pair, bool], Tensor],
    counted: Pads | None = None,
    may_round_up: bool = True,
) -> Tensor:
    """Pools at every position kept; a window that starts beyond the input gives 0.

    PyTorch's own padding can move the grid, without a copy: with one more row of padding, all windows begin
    a row higher, and where that is too high, the first of them is dropped.

    Args:
        x: (S·N, C, H, W).
        placement: the submaps, and the positions kept for each.
        windows: the unshifted windows.
        border: what padding and all beyond it is made of.
        pool: the operation, strided, of a map, the padding on both sides, and whether it rounds up.
        counted: the padding that counts, if `pool` averages over what lies within the input and that.
        may_round_up: whether `pool` is right for a last window that leaves the padding, too.
    """
    height, width = height_and_width(x)
    kernel, stride, (above, left), dilation, ceil_mode = windows
    # PyTorch's rule knows equal padding only; layers may have a pixel more below and to the right.
    extended = (height + above[1] - above[0], width + left[1] - left[0])
    size = output_size(extended, kernel, stride, (above[0], left[0]), dilation, ceil_mode)
    reach = reach_of(size, kernel, stride, dilation)

    def at(x: Tensor, shift: Position) -> Tensor:
        grid = _Grid.of(height_and_width(x), size, windows, shift)
        if grid.native and (may_round_up or not grid.ceil_mode) and not any(map(any, counted or ())):
            out = pool(x, grid.padding, grid.ceil_mode)
            return cut(cut(out, grid.dropped, grid.inside), (0, 0), size)
        start = (shift[0] - above[0], shift[1] - left[0])
        out = pool(cut(x, start, reach, border), (0, 0), False)
        if counted:
            ones = F.pad(torch.ones_like(x[:1, :1]), (*counted[1], *counted[0]), value=1.0)
            start = (start[0] + counted[0][0], start[1] + counted[1][0])
            share = pool(cut(ones, start, reach), (0, 0), False)
            out = out / share.clamp(min=1 / (kernel[0] * kernel[1]))
        return cut(cut(out, (0, 0), grid.inside), (0, 0), size)

    return at_positions(x, placement, at, windows.pads, reach)


class _Grid(NamedTuple):
    """Where a shifted grid of windows is among those that PyTorch's pooling has if it pads, down and across.

    Attributes:
        padding: on both sides.
        dropped: how many of its windows come before the grid's first.
        inside: how many windows of the grid start above and left of the input's end.
        ceil_mode: whether PyTorch has to round up. Avoided where possible: ONNX Runtime does not drop a last
            window that starts beyond the input, as PyTorch does.
        native: whether PyTorch admits that padding and then has all windows that are inside.
    """

    padding: Pair
    dropped: Pair
    inside: Pair
    ceil_mode: bool
    native: bool

    @classmethod
    def of(cls, input_size: Pair, size: Pair, windows: Windows, shift: Position) -> "_Grid":
        kernel, stride, pads, dilation, _ = windows
        lead = [pads[axis][0] - shift[axis] for axis in (0, 1)]
        dropped = [max(-(lead[axis] // stride[axis]), 0) for axis in (0, 1)]
        padding = [lead[axis] + dropped[axis] * stride[axis] for axis in (0, 1)]
        inside = [
            max(min(size[axis], (input_size[axis] - 1 + lead[axis]) // stride[axis] + 1), 0) for axis in (0, 1)
        ]

        def enough(ceil_mode: bool) -> bool:
            there = output_size(input_size, kernel, stride, (padding[0], padding[1]), dilation, ceil_mode)
            return all(there[axis] - dropped[axis] >= inside[axis] for axis in (0, 1))

        ceil_mode = not enough(ceil_mode=False)
        admitted = all(2 * padding[axis] <= kernel[axis] for axis in (0, 1))
        native = admitted and (not ceil_mode or enough(ceil_mode=True))
        return cls((padding[0], padding[1]), (dropped[0], dropped[1]), (inside[0], inside[1]), ceil_mode, native)


class CheckeredMaxPool2d(Multisampling, nn.MaxPool2d):
    """Max pooling evaluated at several positions of each stride×stride window; see `max_pool2d`.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: as of nn.MaxPool2d.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.

    Raises:
        ValueError: for an unequal stride, or `return_indices=True`, which has no meaning across submaps.

    Example:
        >>> CheckeredMaxPool2d(2)(torch.arange(16.0).view(1, 1, 4, 4)).tolist()
        [[[[5.0, 7.0], [13.0, 15.0]]], [[[10.0, 11.0], [14.0, 15.0]]]]
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        submaps: int = 1,
        sampling: str | Sampling = "naive",
    ) -> None:
        if return_indices:
            raise ValueError("return_indices=True: indices have no meaning across submaps")
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)
        self.placement = placed_by_hand(submaps, sampling, self.stride)

    @classmethod
    def refuses(cls, module: nn.Module) -> str | None:
        if module.return_indices:
            return "return_indices=True has no meaning across submaps"
        return super().refuses(module)

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        return max_pool2d(x, placement, _windows(self, self._padding(x)))

    def _padding(self, x: Tensor) -> Pads:
        return _symmetric(self.padding)


class CheckeredAvgPool2d(Multisampling, nn.AvgPool2d):
    """Average pooling evaluated at several positions of each stride×stride window; see `avg_pool2d`.

    Args:
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: as of nn.AvgPool2d.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.

    Raises:
        ValueError: for an unequal stride.

    Example:
        >>> CheckeredAvgPool2d(2)(torch.arange(16.0).view(1, 1, 4, 4)).tolist()
        [[[[2.5, 4.5], [10.5, 12.5]]], [[[7.5, 4.5], [6.75, 3.75]]]]
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        submaps: int = 1,
        sampling: str | Sampling = "naive",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        self.placement = placed_by_hand(submaps, sampling, self.stride)

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        windows = _windows(self, _symmetric(self.padding))
        return avg_pool2d(x, placement, windows, self.count_include_pad, self.divisor_override)


class CheckeredLPPool2d(Multisampling, nn.LPPool2d):
    """Power-average pooling evaluated at several positions of each stride×stride window; see `lp_pool2d`.

    Args:
        norm_type, kernel_size, stride, ceil_mode: as of nn.LPPool2d.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.

    Raises:
        ValueError: for an unequal stride.

    Example:
        >>> CheckeredLPPool2d(2, 2)(torch.full((1, 1, 2, 2), 3.0)).tolist()
        [[[[6.0]]], [[[3.0]]]]
    """

    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
        *,
        submaps: int = 1,
        sampling: str | Sampling = "naive",
    ) -> None:
        super().__init__(norm_type, kernel_size, stride, ceil_mode)
        self.placement = placed_by_hand(submaps, sampling, self.stride or kernel_size)

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        return lp_pool2d(x, placement, self.norm_type, _windows(self, _NONE))


def _symmetric(padding: Size) -> Pads:
    vertical, horizontal = pair(padding)
    return (vertical, vertical), (horizontal, horizontal)


def _windows(layer: CheckeredMaxPool2d | CheckeredAvgPool2d | CheckeredLPPool2d, pads: Pads) -> Windows:
    dilation = pair(getattr(layer, "dilation", 1))
    return Windows(pair(layer.kernel_size), strides(layer), pads, dilation, layer.ceil_mode)
