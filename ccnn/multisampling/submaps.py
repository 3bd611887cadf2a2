"""The folded layout: S submaps of N images as one tensor (S·N, C, H, W), submap-major."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .samplers import Assignment, Position, Sampling, resolve


def unfold(x: Tensor, submaps: int) -> Tensor:
    """(S·N, …) → (S, N, …), a view.

    Raises:
        ValueError: if the batch is no multiple of `submaps`.

    Example:
        >>> unfold(torch.arange(6), submaps=2).tolist()  # two submaps of three images
        [[0, 1, 2], [3, 4, 5]]
    """
    if x.shape[0] % submaps:
        raise ValueError(
            f"a batch of {x.shape[0]} cannot hold {submaps} submaps of every image: "
            "the layer's `submaps` does not fit the network, or the input is not folded"
        )
    # Not unflatten(0, (submaps, -1)): an empty batch leaves −1 open, and ONNX's tracer makes a constant of it.
    return x.view(submaps, x.shape[0] // submaps, *x.shape[1:])


def fold(x: Tensor) -> Tensor:
    """(S, N, …) → (S·N, …), the inverse of `unfold`."""
    return x.flatten(0, 1)


def stack(x: Tensor, submaps: int) -> Tensor:
    """(S·N, C, H, W) → (N, C, S·H, W): one map of each image, its submaps on top of each other.

    For operations that mix a whole map and do not care where in it something is. Flattened maps, (S·N, C, L), too.
    """
    return unfold(x, submaps).permute(1, 2, 0, *range(3, x.ndim + 1)).flatten(2, 3)


def unstack(x: Tensor, submaps: int) -> Tensor:
    """(N, C, S·H, W) → (S·N, C, H, W), the inverse of `stack`."""
    maps = x.view(*x.shape[:2], submaps, x.shape[2] // submaps, *x.shape[3:])
    return fold(maps.permute(2, 0, 1, *range(3, maps.ndim)))


def merge(x: Tensor, submaps: int) -> Tensor:
    """Averages the submaps of every image: (S·N, …) → (N, …), as the paper does before its classifiers.

    Example:
        >>> merge(torch.tensor([1.0, 2.0, 3.0, 4.0]), submaps=2).tolist()  # two submaps of two images
        [2.0, 3.0]
    """
    return unfold(x, submaps).mean(0)


def offsets(steps: Sequence[tuple[int, Assignment]]) -> list[Position]:
    """Where each submap's samples sit in the input's grid.

    Args:
        steps: stride and assignment of each multisampling step, from the input on.

    Returns:
        (dy, dx) of every final submap, in input pixels, in the order of the submaps: submap s of the last
        map, at row i and column j, is the sample at (dy + i·k, dx + j·k), k being the product of the strides.

    Example:
        >>> offsets([(2, (((0, 0), (1, 1)),)), (2, (((0, 0), (1, 1)),))])  # naive, two steps
        [(0, 0), (1, 1), (2, 2), (3, 3)]
    """
    places: list[Position] = [(0, 0)]
    scale = 1
    for stride, assignment in steps:
        samplers = assignment * len(places) if len(assignment) == 1 else assignment
        if len(samplers) != len(places):
            raise ValueError(f"expected {len(places)} samplers, one per incoming submap, got {len(samplers)}")
        places = [
            (y + scale * sampler[kept][0], x + scale * sampler[kept][1])
            for kept in range(len(samplers[0]))
            for (y, x), sampler in zip(places, samplers, strict=True)
        ]
        scale *= stride
    return places


def offsets_of(sampling: str | Sampling, strides: Sequence[int]) -> list[Position]:
    """Where a sampling method puts the submaps in evaluation; see `offsets`.

    Args:
        sampling: as for `ccnn.convert`.
        strides: of the multisampling steps from the input on. A converted layer has them as `placement.path`.

    Raises:
        ValueError: for strides below 2, or that the method does not take.

    Example:
        >>> offsets_of("lattice", (2, 2))
        [(0, 0), (1, 1), (2, 2), (3, 3)]
    """
    chosen = resolve(sampling)
    if not isinstance(strides, Sequence) or not all(isinstance(k, int) and k > 1 for k in strides):
        raise ValueError(f"strides: expected those of each step, from 2 on, such as (2, 2), got {strides!r}")
    for stride in strides:
        if refusal := chosen.refuses(stride):
            raise ValueError(f"strides: {refusal}")
    return offsets([(stride, chosen.assignment(strides[: i + 1])) for i, stride in enumerate(strides)])


def to_dense(
    x: Tensor,
    offsets: Sequence[Position],
    stride: int,
    size: tuple[int, int] | None = None,
    fill: Literal["interpolate", "zeros"] = "interpolate",
) -> Tensor:
    """Puts the samples of all submaps back to their places: (S·N, C, h, w) → (N, C, H, W), differentiable.

    Every sample is exactly its own in the result, so with all stride² positions kept nothing is added. Each
    other place is the mean of the samples at a distance d below R = √2·stride, weighted by (1/d − 1/R)², the
    weights of Franke and Little: near samples count most, and some sample is always near enough.

    Args:
        x: the folded submaps of N images.
        offsets: (dy, dx) of each submap, as `offsets` and `offsets_of` give them; S is their number.
        stride: the product of the strides that led to the submaps.
        size: (H, W) of the grid that was subsampled, where it is no multiple of the stride: H ≤ h·stride and
            W ≤ w·stride, the default. It is the image's, or that of the map which the first multisampling layer
            received if others subsampled before it.
        fill: what is at places without a sample: `interpolate`, or `zeros`.

    Raises:
        ValueError: for offsets outside of a stride×stride cell or given twice, a size that the submaps do not
            reach, an unknown fill, or a batch that is no multiple of the number of offsets.

    Example:
        >>> to_dense(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), [(0, 0), (1, 1)], stride=2).tolist()
        [[[[1.0, 2.0], [2.0, 3.0]]]]
    """
    maps = unfold(x, len(offsets))
    h, w = maps.shape[3:]
    height, width = size or (h * stride, w * stride)
    if len(set(offsets)) < len(offsets) or not all(0 <= place < stride for offset in offsets for place in offset):
        raise ValueError(f"offsets: expected different places within 0 to {stride - 1}, got {list(offsets)}")
    if not (0 < height <= h * stride and 0 < width <= w * stride):
        raise ValueError(
            f"size: submaps of {h}×{w} at stride {stride} reach {h * stride}×{w * stride}, got {size}"
        )
    if fill not in ("interpolate", "zeros"):
        raise ValueError(f"fill: expected 'interpolate' or 'zeros', got {fill!r}")
    dense = _scatter(maps, offsets, stride)
    if fill == "interpolate" and len(offsets) < stride**2:
        taken = _scatter(maps.new_ones(len(offsets), 1, 1, h, w), offsets, stride) > 0
        dense = torch.where(taken, dense, _interpolate(maps, offsets, stride))
    return dense[:, :, :height, :width]


def _scatter(maps: Tensor, offsets: Sequence[Position], stride: int) -> Tensor:
    _, images, channels, h, w = maps.shape
    cells = maps.new_zeros(images, channels, h, stride, w, stride)
    cells[:, :, :, [dy for dy, _ in offsets], :, [dx for _, dx in offsets]] = maps
    return cells.flatten(4, 5).flatten(2, 3)


def _interpolate(maps: Tensor, offsets: Sequence[Position], stride: int) -> Tensor:
    """The weighted mean of the samples around each place, as a convolution normalised by that of ones."""
    submaps, images, channels, h, w = maps.shape
    radius = sqrt(2) * stride
    reach = ceil(radius) - 1
    grid = torch.arange(-reach, stride + reach, dtype=torch.float64)
    y, x = (grid - torch.tensor([offset[axis] for offset in offsets])[:, None] for axis in (0, 1))
    distance = (y[:, :, None] ** 2 + x[:, None, :] ** 2).sqrt().clamp(min=0.5)  # a sample's own place: any weight
    weights = (1 / distance - 1 / radius).clamp(min=0).square().unsqueeze(1).to(maps)

    def spread(samples: Tensor) -> Tensor:
        return F.conv_transpose2d(samples, weights, stride=stride, padding=reach)

    total = spread(maps.permute(1, 2, 0, 3, 4).flatten(0, 1)) / spread(maps.new_ones(1, submaps, h, w))
    return total.unflatten(0, (images, channels)).squeeze(2)
