"""Multisampling layers: strided layers that are evaluated at several positions of each window."""

from collections.abc import Callable
from itertools import groupby
from math import inf
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ccnn.samplers import Assignment, Position, Sampling, resolve
from ccnn.submaps import fold, unfold

Pair = tuple[int, int]
_Size = int | tuple[int, int]
_Run = tuple[Position, int, int]


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def strides(layer: nn.Module) -> Pair:
    """The strides of a convolution or pooling along both axes."""
    stride: Any = layer.stride
    return _pair(stride)


class Multisampling(nn.Module):
    """What all multisampling layers share.

    Attributes:
        submaps: the number of submaps that the layer receives, S.
        samplers: one sampler per submap, or a single one for all of them.
        method: name of the sampling method that chose them.
    """

    submaps: int
    samplers: Assignment
    method: str
    _runs: tuple[_Run, ...]

    def set_submaps(self, submaps: int, samplers: Assignment, method: str) -> None:
        """Tells the layer what it receives and which positions it keeps."""
        if len(samplers) not in (1, submaps):
            raise ValueError(f"expected one sampler or one for each of {submaps} submaps, got {len(samplers)}")
        self.submaps, self.samplers, self.method = submaps, samplers, method
        self._runs = _runs(samplers)

    def _set_sampling(self, submaps: int, sampling: str | Sampling, stride: _Size) -> None:
        """For layers built by hand, where all steps before have the layer's own stride."""
        k, across = _pair(stride)
        if submaps < 1:
            raise ValueError(f"submaps: expected at least 1, got {submaps}")
        if k != across:
            raise ValueError(f"stride: multisampling needs the same stride on both axes, got {(k, across)}")
        chosen = resolve(sampling)
        samplers: Assignment = (((0, 0),),)
        if k > 1:
            steps, reached = 0, 1
            while reached < submaps:
                steps, reached = steps + 1, reached * chosen.kept(k)
            samplers = chosen.assignment((k,) * (steps + 1))
        self.set_submaps(submaps, samplers, chosen.name)

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
        self, x: Tensor, reach: Pair, border: float, operate: Callable[[Tensor, Position], Tensor]
    ) -> Tensor:
        """Runs `operate` once per run of submaps that share a position, on the input shifted to it.

        One call per position rather than one call on all shifted inputs together: the shifted inputs are
        then views of one tensor, and only that is kept for backward.

        Args:
            x: the padded input, (S·N, C, H, W).
            reach: height and width that the unshifted grid of windows reads.
            border: what a shifted grid finds beyond the bottom and the right edge.
            operate: the layer's operation, strided, on a view of exactly `reach`.
        """
        below = reach[0] + max(dy for (dy, _), *_ in self._runs) - x.shape[2]
        right = reach[1] + max(dx for (_, dx), *_ in self._runs) - x.shape[3]
        if below > 0 or right > 0:
            x = F.pad(x, (0, max(right, 0), 0, max(below, 0)), value=border)
        maps = unfold(x, len(self.samplers))
        return torch.cat(
            [
                operate(fold(maps[first:last])[:, :, dy : dy + reach[0], dx : dx + reach[1]], (dy, dx))
                for (dy, dx), first, last in self._runs
            ]
        )


def _runs(samplers: Assignment) -> tuple[_Run, ...]:
    """Consecutive submaps that are evaluated at the same position, in the order of the output submaps."""
    runs: list[_Run] = []
    for kept in range(len(samplers[0])):
        for position, run in groupby(
            range(len(samplers)), key=[sampler[kept] for sampler in samplers].__getitem__
        ):
            submaps = list(run)
            runs.append((position, submaps[0], submaps[-1] + 1))
    return tuple(runs)


def _output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    """Height and width of a strided layer's output, by PyTorch's rule."""

    def along(axis: int) -> int:
        room = size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        if not ceil_mode:
            return room // stride[axis] + 1
        windows = -(-room // stride[axis]) + 1
        # The last window must start inside the input or its left padding.
        return windows - ((windows - 1) * stride[axis] >= size[axis] + padding[axis])

    return along(0), along(1)


def _reach(windows: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Height and width that a grid of windows reads."""
    return (
        (windows[0] - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1,
        (windows[1] - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1,
    )


class CheckeredConv2d(Multisampling, nn.Conv2d):
    """A convolution evaluated at several positions of each stride×stride window.

    Shapes: (S·N, C_in, H, W) → (S'·N, C_out, H', W') with H', W' as nn.Conv2d gives them. S' is S times the
    positions kept (S·k for stride k), then S' − depth + 1 for depth > 1.

    With `depth` d > 1 the kernel is d×k×k and looks across d consecutive submaps, without padding along
    them (the paper's "2×3×3 convolutions"). Where there are fewer than d submaps, as in a network that is
    not converted, the kernel wraps around and their number stays. `weight` then has the shape
    (C_out, C_in/groups·d, k, k), which is Conv3d's (C_out, C_in/groups, d, k, k) flattened.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device,
            dtype: as of nn.Conv2d; the stride must be the same on both axes.
        submaps: number of submaps that the layer receives.
        sampling: name of a sampling method, or a `Sampling`.
        depth: number of consecutive submaps that the kernel spans.

    Raises:
        ValueError: for an unequal stride, submaps or depth below 1, depth > 1 together with a stride.
    """

    depth: int = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: str | _Size = 0,
        dilation: _Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        submaps: int = 1,
        sampling: str | Sampling = "naive",
        depth: int = 1,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth: expected at least 1, got {depth}")
        if depth > 1 and _pair(stride) != (1, 1):
            raise ValueError(f"depth: a kernel across submaps needs stride 1, got depth={depth}, stride={stride}")
        super().__init__(
            in_channels * depth, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device=device, dtype=dtype,
        )  # fmt: skip
        self.depth = depth
        self._set_sampling(submaps, sampling, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.depth > 1:
            x = self._stack(x)
        stride, kernel, dilation = strides(self), _pair(self.kernel_size), _pair(self.dilation)
        if stride == (1, 1):
            return super().forward(x)
        padding = self._reversed_padding_repeated_twice
        if any(padding):
            x = F.pad(x, padding, mode="constant" if self.padding_mode == "zeros" else self.padding_mode)
        windows = _output_size((x.shape[2], x.shape[3]), kernel, stride, (0, 0), dilation, ceil_mode=False)
        reach = _reach(windows, kernel, stride, dilation)
        if kernel != (1, 1):
            return self._sample(x, reach, 0.0, lambda view, _: self._convolve(view, stride))
        # A 1×1 kernel reads nothing but the kept samples: take them, then convolve once.
        return self._convolve(
            self._sample(x, reach, 0.0, lambda view, _: view[:, :, :: stride[0], :: stride[1]]),
            (1, 1),
        )

    def _convolve(self, x: Tensor, stride: Pair) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, stride, 0, self.dilation, self.groups)

    def _stack(self, x: Tensor) -> Tensor:
        """(S·N, C, H, W) → (S'·N, C·d, H, W): each submap with its d − 1 successors, channels innermost last."""
        maps = unfold(x, self.submaps)
        rows = [maps.roll(-step, 0)[: self.submaps_out] for step in range(self.depth)]
        return fold(torch.stack(rows, dim=3).flatten(2, 3))

    @property
    def submaps_out(self) -> int:
        """The number of submaps that the layer yields."""
        if self.depth == 1:
            return super().submaps_out
        return self.submaps - self.depth + 1 if self.submaps >= self.depth else self.submaps

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", depth={self.depth}" if self.depth > 1 else "")


class CheckeredMaxPool2d(Multisampling, nn.MaxPool2d):
    """Max pooling evaluated at several positions of each stride×stride window.

    Padding and what lies beyond the border never win: both are −inf. A window that a shift moved off the
    input altogether gives 0, as beyond the border there are zeros. Arguments as of nn.MaxPool2d, then
    `submaps` and `sampling`.

    Raises:
        ValueError: for an unequal stride, or `return_indices=True`, which has no meaning across submaps.
    """

    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size = 0,
        dilation: _Size = 1,
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
        kernel, stride = _pair(self.kernel_size), _pair(self.stride)
        padding, dilation = _pair(self.padding), _pair(self.dilation)
        size = (x.shape[2], x.shape[3])
        windows = _output_size(size, kernel, stride, padding, dilation, self.ceil_mode)
        if any(padding):
            x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]), value=-inf)

        def pool(view: Tensor, shift: Position) -> Tensor:
            out = F.max_pool2d(view, kernel, stride, 0, dilation)
            if dilation != (1, 1):  # the taps of a dilated window can step over a small input altogether
                out = out.masked_fill(out == -inf, 0.0)
            # Windows that start below or right of the input: −inf throughout, so 0 takes their place.
            rows, columns = (
                min(windows[axis], (size[axis] + padding[axis] - shift[axis] - 1) // stride[axis] + 1)
                for axis in (0, 1)
            )
            if (rows, columns) == windows:
                return out
            return F.pad(out[:, :, :rows, :columns], (0, windows[1] - columns, 0, windows[0] - rows))

        return self._sample(x, _reach(windows, kernel, stride, dilation), -inf, pool)


class CheckeredAvgPool2d(Multisampling, nn.AvgPool2d):
    """Average pooling evaluated at several positions of each stride×stride window.

    What lies beyond the border are zeros that count as padding does; a window without anything to count
    gives 0. Arguments as of nn.AvgPool2d, then `submaps` and `sampling`.

    Raises:
        ValueError: for an unequal stride.
    """

    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size = 0,
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
        kernel, stride, padding = _pair(self.kernel_size), _pair(self.stride), _pair(self.padding)
        size = (x.shape[2], x.shape[3])
        windows = _output_size(size, kernel, stride, padding, (1, 1), self.ceil_mode)
        if any(padding):
            x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))

        def counted(axis: int, shift: int, windows: int) -> Tensor:
            """How many elements of each window count, along one axis."""
            start = torch.arange(windows, device=x.device) * stride[axis] + shift - padding[axis]
            end = start + kernel[axis]
            if not self.count_include_pad:
                return end.clamp(max=size[axis]) - start.clamp(min=0)
            if self.ceil_mode:
                return end.clamp(max=size[axis] + padding[axis]) - start
            return end - start

        def pool(view: Tensor, shift: Position) -> Tensor:
            if self.divisor_override or (self.count_include_pad and not self.ceil_mode):
                return F.avg_pool2d(view, kernel, stride, divisor_override=self.divisor_override)
            total = F.avg_pool2d(view, kernel, stride, divisor_override=1)
            rows, columns = (counted(axis, shift[axis], windows[axis]).clamp(min=0) for axis in (0, 1))
            return total / (rows[:, None] * columns).clamp(min=1).to(total.dtype)

        return self._sample(x, _reach(windows, kernel, stride, (1, 1)), 0.0, pool)
