"""Feature maps of a real image in a plain and in a converted network, put back to the image's own grid."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ccnn.figures.methods import steps_of
from ccnn.figures.patterns import Pattern, patterns
from ccnn.multisampling.conversion import convert
from ccnn.multisampling.submaps import to_dense


def edge_network(levels: int) -> nn.Sequential:
    """A network with fixed weights: edges in eight directions, then max pooling as in VGG, once for each level.

    (N, 1, H, W) → (N, 8, H/2ˡ, W/2ˡ). Sobel's kernels and ReLU see the edges; nothing is trained.
    """
    straight = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    oblique = torch.tensor([[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]]) / 4
    kernels = torch.stack([kernel.rot90(turns) for kernel in (straight, oblique) for turns in range(4)])
    edges = nn.Conv2d(1, 8, 3, padding=1, padding_mode="replicate", bias=False)
    edges.weight = nn.Parameter(kernels[:, None], requires_grad=False)
    return nn.Sequential(edges, nn.ReLU(), *(nn.MaxPool2d(2) for _ in range(levels)))


@dataclass(frozen=True)
class Level:
    """The feature map after some subsampling layers.

    Attributes:
        pattern: where its samples are.
        dense: the sum over channels, its samples put back to the grid of the image: (H, W).
        values: how many values of each channel the network holds.
        missing: the part of the variance of the map at all places (`complete`) that `dense` does not explain.
    """

    pattern: Pattern
    dense: Tensor
    values: int
    missing: float


def levels(image: Tensor, method: str, count: int) -> list[Level]:
    """Runs the edge network on an image and puts the samples of each level back to their places.

    Args:
        image: grey, 0 to 1, shape (H, W); H and W are multiples of 2ᶜᵒᵘⁿᵗ.
        method: of sampling; `traditional` is the plain network.
        count: number of levels.
    """
    found = []
    for pattern in patterns(steps_of(method, [2] * count))[1:]:
        samples, dense = _dense_map(image, method, pattern)
        _, truth = _dense_map(image, "complete", patterns(steps_of("complete", pattern.strides))[-1])
        missing = float((dense - truth).square().mean() / truth.var(correction=0))
        found.append(Level(pattern, dense, samples[:, 0].numel(), missing))
    return found


def _dense_map(image: Tensor, method: str, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """The samples of the last level (S, 8, h, w), and their sum over channels on the image's grid (H, W)."""
    network = edge_network(len(pattern.strides)).eval()
    if method != "traditional":
        # Without a head the submaps would be averaged at the output; the hook reads them before.
        convert(network, (1, *image.shape), method)
    seen: list[Tensor] = []
    network[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(image[None, None])
    (samples,) = seen
    return samples, to_dense(samples, pattern.offsets, pattern.side)[0].sum(0)
