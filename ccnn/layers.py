"""Multisampling layers: strided convolutions and poolings, evaluated at several positions of each window."""

from collections.abc import Callable
from math import inf
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ccnn.multisampling import Multisampling, Pads, Pair, Size, output_size, pair, reach_of, strides
from ccnn.samplers import Position, Sampling
from ccnn.submaps import fold, unfold


class CheckeredConv2d(Multisampling, nn.Conv2d):
    """A convolution evaluated at several positions of each stride×stride window.

    Shapes: (S·N, C_in, H, W) → (S'·N, C_out, H', W') with H', W' as nn.Conv2d gives them. S' is S times the
    positions kept (S·k for stride k), then S' − depth + 1 for depth > 1.

    With `depth` d > 1 the kernel is d×k×k and looks across d consecutive submaps, without padding along
    them (the paper's "2×3×3 convolutions"). With `wrap` their number stays: after the last submap comes the
    first again, a row further down, as where the samples of a window end and those of the one below begin.
    Where there are fewer than d submaps, as in a network that is not converted, the kernel sees the same ones
    repeatedly and their number stays, too. `weight` then has the shape (C_out, C_in/groups·d, k, k), which is
    Conv3d's (C_out, C_in/groups, d, k, k) flattened.

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
        weight, pads = self._kernel(), self._padding(x)

        def convolve(x: Tensor, stride: Pair) -> Tensor:
            return F.conv2d(x, weight, self.bias, stride, 0, self.dilation, self.groups)

        padded = (x.shape[2] + sum(pads[0]), x.shape[3] + sum(pads[1]))
        windows = output_size(padded, kernel, stride, (0, 0), dilation, ceil_mode=False)
        reach = reach_of(windows, kernel, stride, dilation)
        if kernel != (1, 1):
            return self._sample(x, pads, self._pad, reach, lambda view, *_: convolve(view, stride))
        # A 1×1 kernel reads nothing but the kept samples: take them, then convolve once.
        kept = self._sample(x, pads, self._pad, reach, lambda view, *_: view[:, :, :: stride[0], :: stride[1]])
        return convolve(kept, (1, 1))

    def _padding(self, x: Tensor) -> Pads:
        left, right, above, below = self._reversed_padding_repeated_twice
        return (above, below), (left, right)

    def _pad(self, x: Tensor, pads: Pads) -> Tensor:
        vertical, horizontal = pads
        if not any((*vertical, *horizontal)):
            return x
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
        self, x: Tensor, border: float, pool: Callable[[Tensor, "_Windows"], Tensor], dilation: Pair = (1, 1)
    ) -> Tensor:
        """Pads, then pools at every kept position; a window that lies off the input altogether gives 0.

        Args:
            x: (S·N, C, H, W).
            border: what padding and all beyond it is made of.
            pool: the operation, strided, on a view that the windows fill.
            dilation: of the windows.
        """
        kernel, stride, pads = pair(self.kernel_size), strides(self), self._padding(x)
        above, left = pads
        # PyTorch's rule knows equal padding only; rules may have a pixel more below and to the right.
        extended = (x.shape[2] + above[1] - above[0], x.shape[3] + left[1] - left[0])
        windows = output_size(extended, kernel, stride, (above[0], left[0]), dilation, self.ceil_mode)

        def fill(x: Tensor, pads: Pads) -> Tensor:
            return F.pad(x, (*pads[1], *pads[0]), value=border) if any((*left, *above)) else x

        def at(view: Tensor, shift: Position, size: Pair) -> Tensor:
            grid = _Windows(windows, kernel, stride, shift, size, pads)
            out = pool(view, grid)
            inside = grid.inside()
            if inside == windows:
                return out
            return F.pad(
                out[:, :, : inside[0], : inside[1]], (0, windows[1] - inside[1], 0, windows[0] - inside[0])
            )

        return self._sample(x, pads, fill, reach_of(windows, kernel, stride, dilation), at, border)


class _Windows(NamedTuple):
    """A grid of pooling windows over a padded input."""

    number: Pair
    kernel: Pair
    stride: Pair
    shift: Position
    size: Pair
    padding: Pads

    def inside(self) -> Pair:
        """How many windows, down and across, start above and left of the input's end."""
        return self._inside(0), self._inside(1)

    def _inside(self, axis: int) -> int:
        room = self.size[axis] + self.padding[axis][0] - self.shift[axis] - 1
        return min(self.number[axis], room // self.stride[axis] + 1)

    def elements(self, like: Tensor, with_padding: bool) -> Tensor:
        """How many elements of the input, or of the padded input, each window has, at least 1."""
        rows, columns = (self._along(axis, with_padding) for axis in (0, 1))
        return torch.outer(rows, columns).clamp(min=1).to(like)

    def _along(self, axis: int, with_padding: bool) -> Tensor:
        start = torch.arange(self.number[axis]) * self.stride[axis] + self.shift[axis] - self.padding[axis][0]
        end = start + self.kernel[axis]
        size, (before, after) = self.size[axis], self.padding[axis]
        if with_padding:
            return (end.clamp(max=size + after) - start.clamp(min=-before)).clamp(min=0)
        return (end.clamp(max=size) - start.clamp(min=0)).clamp(min=0)


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
        dilation = pair(self.dilation)

        def pool(view: Tensor, grid: _Windows) -> Tensor:
            out = F.max_pool2d(view, grid.kernel, grid.stride, 0, dilation)
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
        every = self.count_include_pad and not self.ceil_mode

        def pool(view: Tensor, grid: _Windows) -> Tensor:
            if self.divisor_override or every:
                return F.avg_pool2d(view, grid.kernel, grid.stride, divisor_override=self.divisor_override)
            total = F.avg_pool2d(view, grid.kernel, grid.stride, divisor_override=1)
            return total / grid.elements(total, with_padding=self.count_include_pad)

        return self._pool(x, 0.0, pool)


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
        def pool(view: Tensor, grid: _Windows) -> Tensor:
            if not self.ceil_mode:
                return F.lp_pool2d(view, self.norm_type, grid.kernel, grid.stride)
            total = F.avg_pool2d(view.pow(self.norm_type), grid.kernel, grid.stride, divisor_override=1)
            share = grid.kernel[0] * grid.kernel[1] / grid.elements(total, with_padding=False)
            return (total * share).pow(1 / self.norm_type)

        return self._pool(x, 0.0, pool)
