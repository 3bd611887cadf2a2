"""Multisampling layers: strided convolutions and poolings, evaluated at several positions of each window."""

from collections.abc import Callable
from math import inf
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import (
    Multisampling,
    Pads,
    Pair,
    Size,
    cut,
    height_and_width,
    output_size,
    pair,
    reach_of,
    strides,
)
from .samplers import Position, Sampling
from .submaps import fold, unfold


class CheckeredConv2d(Multisampling, nn.Conv2d):
    """A convolution evaluated at several positions of each stride×stride window.

    Shapes: (S·N, C_in, H, W) → (S'·N, C_out, H', W') with H', W' as nn.Conv2d gives them. S' is S times the
    positions kept (S·k for stride k), then S' − depth + 1 for depth > 1.

    With `depth` d > 1 the kernel is d×k×k and looks across d consecutive submaps, without padding along
    them (the paper's "2×3×3 convolutions"). With `wrap` their number stays: after the last submap comes the
    first again, a row further down, as where the samples of a window end and those of the one below begin.
    Where there are fewer than d submaps, as in a network that is not converted, the kernel sees the same ones
    repeatedly (with `wrap` each time a row further down) and their number stays, too. `weight` then has the
    shape (C_out, C_in/groups·d, k, k), which is Conv3d's (C_out, C_in/groups, d, k, k) flattened.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype: as of nn.Conv2d; the stride must be the same on both axes.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.
        depth: number of consecutive submaps that the kernel spans.
        wrap: whether the kernel goes on past the last submap.

    Raises:
        ValueError: for an unequal stride, submaps or depth below 1, depth > 1 together with a stride.
    """

    depth: int = 1
    wrap: bool = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        submaps: int = 1,
        sampling: str | Sampling = "naive",
        depth: int = 1,
        wrap: bool = False,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth: expected at least 1, got {depth}")
        if depth > 1 and pair(stride) != (1, 1):
            raise ValueError(f"depth: a kernel across submaps needs stride 1, got depth={depth}, stride={stride}")
        super().__init__(
            in_channels * depth, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device=device, dtype=dtype,
        )  # fmt: skip
        self.in_channels, self.depth, self.wrap = in_channels, depth, wrap
        self._set_sampling(submaps, sampling, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.depth > 1:
            x = self._stack(x)
        stride, kernel, dilation = strides(self), pair(self.kernel_size), pair(self.dilation)
        if stride == (1, 1):
            return super().forward(x)
        height, width = height_and_width(x)
        weight, pads = self._kernel(), self._padding(x)
        (above, below), (left, right) = pads
        windows = output_size(
            (height + above + below, width + left + right), kernel, stride, (0, 0), dilation, ceil_mode=False
        )
        reach = reach_of(windows, kernel, stride, dilation)
        zeros = self.padding_mode == "zeros" and type(self)._pad is CheckeredConv2d._pad
        padded = any((above, below, left, right))

        def convolve(x: Tensor, stride: Pair, padding: Pair = (0, 0)) -> Tensor:
            return F.conv2d(x, weight, self.bias, stride, padding, self.dilation, self.groups)

        def at(x: Tensor, shift: Position) -> Tensor:
            if not zeros:
                return convolve(cut(self._pad(x, pads), shift, reach), stride)
            if shift == (0, 0) and above == below and left == right:
                return convolve(x, stride, (above, left))
            return convolve(cut(x, (shift[0] - above, shift[1] - left), reach), stride)

        def take(x: Tensor, shift: Position) -> Tensor:
            x = self._pad(x, pads) if padded else x
            return cut(x[:, :, shift[0] :: stride[0], shift[1] :: stride[1]], (0, 0), windows)

        if kernel != (1, 1):
            return self._sample(x, pads, reach, at, gather=True)
        # A 1×1 kernel reads nothing but the kept samples: take them, then convolve once.
        return convolve(self._sample(x, pads, reach, take), (1, 1))

    def _padding(self, x: Tensor) -> Pads:
        left, right, above, below = self._reversed_padding_repeated_twice
        return (above, below), (left, right)

    def _pad(self, x: Tensor, pads: Pads) -> Tensor:
        vertical, horizontal = pads
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(x, (*horizontal, *vertical), mode=mode)

    def _kernel(self) -> Tensor:
        return self.weight

    def _stack(self, x: Tensor) -> Tensor:
        """(S·N, C, H, W) → (S'·N, C·d, H, W): each submap with its d − 1 successors, channels innermost last."""
        submaps = self.submaps_now
        maps = unfold(x, submaps)
        if self.wrap:
            turns = [maps]
            while len(turns) * submaps < submaps + self.depth - 1:
                turns.append(F.pad(turns[-1][:, :, :, 1:], (0, 0, 0, 1)))
            maps = torch.cat(turns)
            rows = [maps[step : step + submaps] for step in range(self.depth)]
        else:
            rows = [maps.roll(-step, 0)[: self._across(submaps)] for step in range(self.depth)]
        return fold(torch.stack(rows, dim=3).flatten(2, 3))

    @property
    def submaps_out(self) -> int:
        """The number of submaps that the layer yields."""
        if self.depth == 1:
            return super().submaps_out
        return self._across(self.submaps)

    def _across(self, submaps: int) -> int:
        return submaps - self.depth + 1 if submaps >= self.depth and not self.wrap else submaps

    def extra_repr(self) -> str:
        across = f", depth={self.depth}, wrap={self.wrap}" if self.depth > 1 else ""
        return super().extra_repr() + across


class _Pooling(Multisampling):
    """What pooling layers share."""

    kernel_size: Any
    padding: Any
    ceil_mode: bool

    def _padding(self, x: Tensor) -> Pads:
        vertical, horizontal = pair(self.padding)
        return (vertical, vertical), (horizontal, horizontal)

    def _pool(
        self,
        x: Tensor,
        border: float,
        pool: Callable[[Tensor, Pair], Tensor],
        dilation: Pair = (1, 1),
        counted: Pads | None = None,
    ) -> Tensor:
        """Pools at every kept position; a window that starts beyond the input gives 0.

        PyTorch's own padding can move the grid, without a copy: with one more row of padding, all windows begin
        a row higher, and where that is too high, the first of them is dropped.

        Args:
            x: (S·N, C, H, W).
            border: what padding and all beyond it is made of.
            pool: the operation, strided and rounding up, told how much to pad on both sides.
            dilation: of the windows.
            counted: the padding that counts, if `pool` averages over what lies within the input and that.
        """
        height, width = height_and_width(x)
        kernel, stride, pads = pair(self.kernel_size), strides(self), self._padding(x)
        above, left = pads
        # PyTorch's rule knows equal padding only; rules may have a pixel more below and to the right.
        extended = (height + above[1] - above[0], width + left[1] - left[0])
        windows = output_size(extended, kernel, stride, (above[0], left[0]), dilation, self.ceil_mode)
        reach = reach_of(windows, kernel, stride, dilation)

        def at(x: Tensor, shift: Position) -> Tensor:
            grid = _Grid.of(height_and_width(x), windows, kernel, stride, dilation, shift, pads)
            if grid.native and not any(map(any, counted or ())):
                return cut(pool(x, grid.padding), grid.dropped, windows)
            start = (shift[0] - above[0], shift[1] - left[0])
            out = pool(cut(x, start, reach, border), (0, 0))
            if counted:
                ones = F.pad(torch.ones_like(x[:1, :1]), (*counted[1], *counted[0]), value=1.0)
                start = (start[0] + counted[0][0], start[1] + counted[1][0])
                share = pool(cut(ones, start, reach), (0, 0))
                out = out / share.clamp(min=1 / (kernel[0] * kernel[1]))
            return out if grid.inside == windows else cut(cut(out, (0, 0), grid.inside), (0, 0), windows)

        return self._sample(x, pads, reach, at)

    def _average(self, x: Tensor, divisor: int | None, counted: Pads = ((0, 0), (0, 0))) -> Tensor:
        """Sums over windows by `divisor`; None: by their elements within the input and what is `counted`."""
        kernel, stride = pair(self.kernel_size), strides(self)

        def pool(x: Tensor, padding: Pair) -> Tensor:
            return F.avg_pool2d(x, kernel, stride, padding, True, False, divisor)

        return self._pool(x, 0.0, pool, counted=None if divisor else counted)


class _Grid(NamedTuple):
    """Where a shifted grid of windows is among those that PyTorch's pooling has if it pads, down and across.

    Attributes:
        padding: on both sides.
        dropped: how many of its windows come before the grid's first.
        inside: how many windows of the grid start above and left of the input's end.
        native: whether PyTorch admits that padding and then has all windows that are inside.
    """

    padding: Pair
    dropped: Pair
    inside: Pair
    native: bool

    @classmethod
    def of(
        cls, size: Pair, windows: Pair, kernel: Pair, stride: Pair, dilation: Pair, shift: Position, pads: Pads
    ) -> "_Grid":
        lead = [pads[axis][0] - shift[axis] for axis in (0, 1)]
        dropped = [max(-(lead[axis] // stride[axis]), 0) for axis in (0, 1)]
        padding = [lead[axis] + dropped[axis] * stride[axis] for axis in (0, 1)]
        inside = [max(min(windows[axis], (size[axis] - 1 + lead[axis]) // stride[axis] + 1), 0) for axis in (0, 1)]
        there = output_size(size, kernel, stride, (padding[0], padding[1]), dilation, ceil_mode=True)
        native = all(
            2 * padding[axis] <= kernel[axis] and there[axis] - dropped[axis] >= inside[axis] for axis in (0, 1)
        )
        return cls((padding[0], padding[1]), (dropped[0], dropped[1]), (inside[0], inside[1]), native)


class CheckeredMaxPool2d(_Pooling, nn.MaxPool2d):
    """Max pooling evaluated at several positions of each stride×stride window.

    Padding and what lies beyond the border never win: both are −inf. A window that a shift moved off the
    input altogether gives 0, as beyond the border there are zeros. Arguments as of nn.MaxPool2d, then
    `submaps` and `sampling`.

    Raises:
        ValueError: for an unequal stride, or `return_indices=True`, which has no meaning across submaps.
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
        self._set_sampling(submaps, sampling, self.stride)

    @classmethod
    def refuses(cls, module: nn.Module) -> str | None:
        return (
            "return_indices=True has no meaning across submaps"
            if module.return_indices
            else super().refuses(module)
        )

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, dilation = pair(self.kernel_size), strides(self), pair(self.dilation)

        def pool(x: Tensor, padding: Pair) -> Tensor:
            out = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode=True)
            # The taps of a dilated window can step over a small input altogether.
            return out if dilation == (1, 1) else out.masked_fill(out == -inf, 0.0)

        return self._pool(x, -inf, pool, dilation)


class CheckeredAvgPool2d(_Pooling, nn.AvgPool2d):
    """Average pooling evaluated at several positions of each stride×stride window.

    What lies beyond the border are zeros that count as padding does; a window without anything to count
    gives 0. Arguments as of nn.AvgPool2d, then `submaps` and `sampling`.

    Raises:
        ValueError: for an unequal stride.
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
        self._set_sampling(submaps, sampling, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        kernel = pair(self.kernel_size)
        if self.divisor_override or (self.count_include_pad and not self.ceil_mode):
            return self._average(x, self.divisor_override or kernel[0] * kernel[1])
        return self._average(x, None, self._padding(x) if self.count_include_pad else ((0, 0), (0, 0)))


class CheckeredLPPool2d(_Pooling, nn.LPPool2d):
    """Power-average pooling evaluated at several positions of each stride×stride window.

    What lies beyond the border are zeros; a window without any element of the input gives 0. Arguments as of
    nn.LPPool2d, then `submaps` and `sampling`.

    Raises:
        ValueError: for an unequal stride.
    """

    padding = 0

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
        self._set_sampling(submaps, sampling, self.stride or kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        kernel = pair(self.kernel_size)
        size = kernel[0] * kernel[1]
        total = size * self._average(x.pow(self.norm_type), None if self.ceil_mode else size)
        # As PyTorch has it: the gradient of a window of zeros is 0, not NaN.
        return (torch.sign(total) * F.relu(torch.abs(total))).pow(1 / self.norm_type)
