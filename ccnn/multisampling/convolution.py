"""Multisampling convolution."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Multisampling, Placement, at_positions, placed_by_hand
from .samplers import Position, Sampling
from .submaps import fold, unfold
from .windows import Pads, Pair, Size, cut, height_and_width, output_size, pair, reach_of, strides

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def conv2d(
    x: Tensor,
    placement: Placement,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """F.conv2d at the positions that a placement keeps.

    Args:
        x: (S·N, C_in, H, W), of the placement's S submaps.
        placement: the submaps, and the positions kept for each.
        weight, bias, stride, dilation, groups: as for F.conv2d.
        pads: rows above and below, columns left and right.
        padding_mode: as for nn.Conv2d.

    Returns:
        (S'·N, C_out, H', W'), with H' and W' as F.conv2d has them.

    Example:
        >>> x, weight = torch.arange(16.0).view(1, 1, 4, 4), torch.ones(1, 1, 1, 1)
        >>> conv2d(x, Placement(samplers=(((0, 0), (1, 1)),)), weight, None, (2, 2)).tolist()
        [[[[0.0, 2.0], [8.0, 10.0]]], [[[5.0, 7.0], [13.0, 15.0]]]]
    """
    (above, below), (left, right) = pads
    kernel = height_and_width(weight)
    height, width = height_and_width(x)
    padded_size = (height + above + below, width + left + right)
    windows = output_size(padded_size, kernel, stride, (0, 0), dilation, ceil_mode=False)
    reach = reach_of(windows, kernel, stride, dilation)

    def convolve(x: Tensor, stride: Pair, padding: Pair = (0, 0)) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def pad(x: Tensor) -> Tensor:
        mode = "constant" if padding_mode == "zeros" else padding_mode
        return F.pad(x, (left, right, above, below), mode=mode) if any((above, below, left, right)) else x

    def at(x: Tensor, shift: Position) -> Tensor:
        if padding_mode != "zeros":
            return convolve(cut(pad(x), shift, reach), stride)
        # Zeros are what lies beyond the border, too: the kernel pads, or one copy shifts and pads at once.
        if shift == (0, 0) and above == below and left == right:
            return convolve(x, stride, (above, left))
        return convolve(cut(x, (shift[0] - above, shift[1] - left), reach), stride)

    def take(x: Tensor, shift: Position) -> Tensor:
        return cut(pad(x)[:, :, shift[0] :: stride[0], shift[1] :: stride[1]], (0, 0), windows)

    if kernel != (1, 1):
        return at_positions(x, placement, at, pads, reach, gather=True)
    # A 1×1 kernel reads nothing but the samples kept: take them, then convolve once.
    return convolve(at_positions(x, placement, take, pads, reach), (1, 1))


class CheckeredConv2d(Multisampling, nn.Conv2d):
    """Convolution evaluated at several positions of each stride×stride window (arXiv 1805.10766).

    Shapes: (S·N, C_in, H, W) → (S'·N, C_out, H', W') with H', W' as nn.Conv2d gives them. S' is S times the
    positions kept (S·k for stride k), then S' − depth + 1 for depth > 1.

    With `depth` d > 1 the kernel is d×k×k and looks across d consecutive submaps, without padding along
    them (the paper's "2×3×3 convolutions"). With `wrap` their number stays: after the last submap comes the
    first again, a row further down, as where the samples of a window end and those of the one below begin.
    With fewer than d submaps, as in a network that is not converted, the kernel sees the same ones repeatedly
    (with `wrap` each time a row further down) and their number stays, too. `weight` then has the shape
    (C_out, C_in/groups·d, k, k), which is Conv3d's (C_out, C_in/groups, d, k, k) flattened.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype: as of nn.Conv2d; the stride must be the same on both axes.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.
        depth: number of consecutive submaps that the kernel spans.
        wrap: whether the kernel continues past the last submap.

    Raises:
        ValueError: for an unequal stride, submaps or depth below 1, depth > 1 together with a stride.

    Example:
        >>> layer = CheckeredConv2d(3, 8, 3, stride=2, padding=1)  # one image of 32×32, two submaps of 16×16
        >>> layer(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([2, 8, 16, 16])
        >>> CheckeredConv2d(3, 8, 3, stride=2, submaps=2)
        CheckeredConv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), submaps=2→4, naive)
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
        padding_mode: PaddingMode = "zeros",
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
        self.placement = placed_by_hand(submaps, sampling, stride)

    @property
    def submaps_out(self) -> int:
        """The number of submaps that the layer yields."""
        return super().submaps_out if self.depth == 1 else self._across(self.submaps)

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        if self.depth > 1:
            x = self._stack(x, placement.submaps)
        if strides(self) == (1, 1):
            return self._conv_forward(x, self.weight, self.bias)
        return conv2d(
            x, placement, self._kernel(), self.bias, strides(self), self._padding(x), pair(self.dilation),
            self.groups, self.padding_mode,
        )  # fmt: skip

    def _padding(self, x: Tensor) -> Pads:
        left, right, above, below = self._reversed_padding_repeated_twice
        return (above, below), (left, right)

    def _kernel(self) -> Tensor:
        return self.weight

    def _stack(self, x: Tensor, submaps: int) -> Tensor:
        """(S·N, C, H, W) → (S'·N, C·d, H, W): each submap with its d − 1 successors, which vary fastest in C·d."""
        maps = unfold(x, submaps)
        if self.wrap:
            turns = [maps]
            while len(turns) * submaps < submaps + self.depth - 1:
                turns.append(F.pad(turns[-1][:, :, :, 1:], (0, 0, 0, 1)))
            maps = torch.cat(turns)
            successors = [maps[step : step + submaps] for step in range(self.depth)]
        else:
            successors = [maps.roll(-step, 0)[: self._across(submaps)] for step in range(self.depth)]
        return fold(torch.stack(successors, dim=3).flatten(2, 3))

    def _across(self, submaps: int) -> int:
        return submaps - self.depth + 1 if submaps >= self.depth and not self.wrap else submaps

    def extra_repr(self) -> str:
        across = f", depth={self.depth}, wrap={self.wrap}" if self.depth > 1 else ""
        return super().extra_repr() + across
