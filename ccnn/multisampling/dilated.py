"""Convolutions and poolings of a dense map: evaluated at every pixel, with taps `spacing` pixels apart."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .windows import Pads, Pair, output_size, pair, strides


class Dilated(nn.Module):
    """The base of layers whose taps are `spacing` times as far apart.

    Attributes:
        spacing: distance in the dense map between pixels that are neighbours in the plain network, at the layer's
            input; its own stride counts for the layers after it.
    """

    spacing: int = 1

    @classmethod
    def refuses(cls, module: Any) -> str | None:
        """Why a layer cannot become this one, or None if it can."""
        stride, across = strides(module)
        return None if stride == across else f"its stride ({stride}, {across}) differs between the axes"

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, spacing={self.spacing}"

    def _plain_size(self, x: Tensor) -> Pair:
        """Height and width of each submap that the dense map is made of."""
        height, width = (x.shape[axis] // self.spacing for axis in (2, 3))
        if (height * self.spacing, width * self.spacing) != (x.shape[2], x.shape[3]):
            raise ValueError(
                f"a map of {x.shape[2]}×{x.shape[3]} is no dense map: its sides are no multiples of {self.spacing}"
            )
        return height, width

    def _dense_pads(self, size: Pair, windows: Pair, pads: Pads, kernel: Pair, dilation: Pair) -> list[int]:
        """Padding of a dense map, as F.pad takes it, for `windows` at each of stride·spacing places."""
        result = []
        for axis in (1, 0):
            before, after = pads[axis]
            natural = size[axis] + before + after - dilation[axis] * (kernel[axis] - 1)
            after += windows[axis] * strides(self)[axis] - natural
            result += [before * self.spacing, after * self.spacing]
        return result

    def _taps(self, dilation: Any) -> Pair:
        vertical, horizontal = pair(dilation)
        return vertical * self.spacing, horizontal * self.spacing


class DilatedConv2d(Dilated, nn.Conv2d):
    """A convolution evaluated at every pixel of a dense map: (N, C, H, W) → (N, C', H', W')."""

    @classmethod
    def refuses(cls, module: Any) -> str | None:
        if module.padding_mode != "zeros":
            return f"padding_mode={module.padding_mode!r}; only 'zeros' can be dilated"
        return super().refuses(module)

    def forward(self, x: Tensor) -> Tensor:
        left, right, above, below = self._reversed_padding_repeated_twice
        kernel, dilation, size = pair(self.kernel_size), pair(self.dilation), self._plain_size(x)
        padded = (size[0] + above + below, size[1] + left + right)
        windows = output_size(padded, kernel, strides(self), (0, 0), dilation, ceil_mode=False)
        pads = self._dense_pads(size, windows, ((above, below), (left, right)), kernel, dilation)
        x, padding = _own_padding(x, pads, 0.0)
        return F.conv2d(x, self.weight, self.bias, 1, padding, self._taps(dilation), self.groups)


class _Pooling(Dilated):
    kernel_size: Any
    padding: Any
    ceil_mode: bool

    def _windows(self, size: Pair, dilation: Pair) -> tuple[Pair, list[int]]:
        kernel, (vertical, horizontal) = pair(self.kernel_size), pair(self.padding)
        windows = output_size(size, kernel, strides(self), (vertical, horizontal), dilation, self.ceil_mode)
        pads: Pads = ((vertical, vertical), (horizontal, horizontal))
        return windows, self._dense_pads(size, windows, pads, kernel, dilation)


class DilatedMaxPool2d(_Pooling, nn.MaxPool2d):
    """Max pooling evaluated at every pixel of a dense map: (N, C, H, W) → (N, C, H', W')."""

    @classmethod
    def refuses(cls, module: Any) -> str | None:
        return "return_indices=True" if module.return_indices else super().refuses(module)

    def forward(self, x: Tensor) -> Tensor:
        size, kernel, dilation = self._plain_size(x), pair(self.kernel_size), pair(self.dilation)
        _, pads = self._windows(size, dilation)
        taps = self._taps(dilation)
        x, padding = _own_padding(x, pads, float("-inf"), most=(kernel[0] // 2, kernel[1] // 2))
        out = F.max_pool2d(x, kernel, 1, padding, taps)
        if dilation != (1, 1):
            # The taps of a dilated window can step over a small input altogether.
            out = out.masked_fill(out == float("-inf"), 0.0)
        # A window that starts beyond the input has nothing in it.
        inside = [
            min(out.shape[2 + axis], (size[axis] + pair(self.padding)[axis]) * self.spacing) for axis in (0, 1)
        ]
        if inside == [*out.shape[2:]]:
            return out
        beyond = (0, out.shape[3] - inside[1], 0, out.shape[2] - inside[0])
        return F.pad(out[:, :, : inside[0], : inside[1]], beyond)


class DilatedAvgPool2d(_Pooling, nn.AvgPool2d):
    """Average pooling evaluated at every pixel of a dense map: (N, C, H, W) → (N, C, H', W').

    PyTorch has no dilated one; the taps are added along the rows, then along the columns.
    """

    def forward(self, x: Tensor) -> Tensor:
        size, kernel = self._plain_size(x), pair(self.kernel_size)
        windows, pads = self._windows(size, (1, 1))
        total = F.pad(x, pads) if any(pads) else x
        for axis in (0, 1):
            length = total.shape[2 + axis] - self.spacing * (kernel[axis] - 1)
            views = [total.narrow(2 + axis, self.spacing * tap, length) for tap in range(kernel[axis])]
            total = torch.stack(views).sum(0) if len(views) > 9 else sum(views[1:], views[0])
        if self.divisor_override:
            return total / self.divisor_override
        if self.count_include_pad and not self.ceil_mode:
            return total / (kernel[0] * kernel[1])
        rows, columns = (self._counts(axis, size, windows) for axis in (0, 1))
        return total / torch.outer(rows, columns).clamp(min=1).to(total)

    def _counts(self, axis: int, size: Pair, windows: Pair) -> Tensor:
        """Number of elements that each window counts along an axis, at every pixel of the dense map."""
        padding, kernel = pair(self.padding)[axis], pair(self.kernel_size)[axis]
        margin = padding if self.count_include_pad else 0
        start = torch.arange(windows[axis] * strides(self)[axis]) - padding
        count = (start + kernel).clamp(max=size[axis] + margin) - start.clamp(min=-margin)
        return count.clamp(min=0).repeat_interleave(self.spacing)


class OfCells(Dilated):
    """The base of poolings of a whole map: each cell, one pixel of each submap, is pooled first."""

    _pool_cells: Any = staticmethod(F.avg_pool2d)

    @classmethod
    def refuses(cls, module: Any) -> str | None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        self._plain_size(x)
        pooled: Tensor = super().forward(self._pool_cells(x, self.spacing))
        return pooled


class DilatedAdaptiveAvgPool2d(OfCells, nn.AdaptiveAvgPool2d):
    """AdaptiveAvgPool2d as a network's last pooling: (N, C, H, W) → (N, C, *output_size)."""


class DilatedWholeAvgPool2d(OfCells, nn.AvgPool2d):
    """AvgPool2d of a whole map: (N, C, H, W) → (N, C, 1, 1)."""


class DilatedWholeMaxPool2d(OfCells, nn.MaxPool2d):
    """MaxPool2d of a whole map: (N, C, H, W) → (N, C, 1, 1)."""

    _pool_cells = staticmethod(F.max_pool2d)


def _own_padding(x: Tensor, pads: list[int], value: float, most: Pair | None = None) -> tuple[Tensor, Pair]:
    """Splits padding into what an operation takes itself, equal on both sides, and what F.pad adds before."""
    left, right, above, below = pads
    own = (min(above, below), min(left, right))
    if most is not None and (own[0] > most[0] or own[1] > most[1]):
        own = (0, 0)
    rest = (left - own[1], right - own[1], above - own[0], below - own[0])
    return (F.pad(x, rest, value=value) if any(rest) else x), own
