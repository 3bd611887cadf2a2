"""The folded layout: S submaps of N images as one tensor (S·N, C, H, W), submap-major."""

from collections.abc import Sequence

from torch import Tensor

from ccnn.samplers import Assignment, Position


def unfold(x: Tensor, submaps: int) -> Tensor:
    """(S·N, …) → (S, N, …), a view.

    Raises:
        ValueError: if the batch is no multiple of `submaps`.
    """
    if x.shape[0] % submaps:
        raise ValueError(
            f"a batch of {x.shape[0]} cannot hold {submaps} submaps of every image: "
            "the layer's `submaps` does not fit the network, or the input is not folded"
        )
    return x.unflatten(0, (submaps, -1))


def fold(x: Tensor) -> Tensor:
    """(S, N, …) → (S·N, …), the inverse of `unfold`."""
    return x.flatten(0, 1)


def merge(x: Tensor, submaps: int) -> Tensor:
    """Averages the submaps of every image: (S·N, …) → (N, …), as the paper does before its classifiers."""
    return unfold(x, submaps).mean(0)


def offsets(steps: Sequence[tuple[int, Assignment]]) -> list[Position]:
    """Where each submap's samples sit in the input's grid.

    Args:
        steps: stride and assignment of each multisampling step, from the input on.

    Returns:
        (dy, dx) of every final submap, in input pixels, in the order of the submaps: submap s of the last
        map, at row i and column j, is the sample at (dy + i·k, dx + j·k), k being the product of the strides.
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
