"""Geometry of the windows of convolutions and poolings."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
"""Rows above and below, columns left and right."""
Size = int | tuple[int, int]


def pair(value: Any) -> Pair:
    """A size along both axes; PyTorch's layers take one number for both.

    >>> pair(3), pair((1, 7))
    ((3, 3), (1, 7))
    """
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def strides(layer: nn.Module) -> Pair:
    """The strides of a convolution or pooling along both axes."""
    stride, kernel_size = (getattr(layer, name, None) for name in ("stride", "kernel_size"))
    return pair(kernel_size if stride is None else stride)  # nn.LPPool2d keeps None


def height_and_width(x: Tensor) -> Pair:
    """The size of a batch of feature maps.

    Raises:
        ValueError: if there is no batch.
    """
    if x.ndim != 4:
        raise ValueError(f"expected a batch of feature maps (S·N, C, H, W), got the shape {tuple(x.shape)}")
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        # Tracing hands out sizes as tensors, and a trace holds for one size of images anyway.
        return int(x.shape[2]), int(x.shape[3])
    return x.shape[2], x.shape[3]


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    """Height and width of a strided layer's output, by PyTorch's rule."""

    def along(axis: int) -> int:
        room = size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        if not ceil_mode:
            return room // stride[axis] + 1
        windows = -(-room // stride[axis]) + 1
        # The last window must start inside the input or its left padding.
        return windows - 1 if (windows - 1) * stride[axis] >= size[axis] + padding[axis] else windows

    return along(0), along(1)


def reach_of(windows: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Height and width that a grid of windows reads."""
    return (
        (windows[0] - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1,
        (windows[1] - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1,
    )


def cut(x: Tensor, start: Pair, size: Pair, value: float = 0.0) -> Tensor:
    """The window of a map that begins at `start`, `size` high and wide; `value` where it lies off the map.

    Uses F.pad, whose backward preserves channels_last. A slice's backward does not: every layer before it would
    then convert its gradient.
    """
    amounts = []
    for axis, there in reversed([*enumerate(height_and_width(x))]):
        before = max(-start[axis], -there)
        amounts += [before, size[axis] - there - before]
    return F.pad(x, amounts, value=value) if any(amounts) else x
