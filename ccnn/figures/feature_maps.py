"""Feature maps of a real image in a plain and in a converted network, put back to the image's own grid."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ccnn.figures.methods import steps_of
from ccnn.figures.patterns import patterns
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
        stride: the product of their strides.
        dense: the sum over channels, its samples put back to the grid of the image: (H, W).
        values: how many values of each channel the network holds.
        missing: the part of the variance of the map at all places (`complete`) that `dense` does not explain.
    """

    stride: int
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
    result = []
    for level in range(1, count + 1):
        values, dense = _dense_map(image, method, level)
        _, truth = _dense_map(image, "complete", level)
        missing = float((dense - truth).square().mean() / truth.var(correction=0))
        result.append(Level(2**level, dense, values, missing))
    return result


def _dense_map(image: Tensor, method: str, level: int) -> tuple[int, Tensor]:
    """How many values a channel of the last map holds, and the map's sum over channels on the image's grid."""
    network = edge_network(level).eval()
    if method != "traditional":
        # Without a head the submaps would be averaged at the output; the hook reads them before.
        convert(network, (1, *image.shape), method)
    maps: list[Tensor] = []
    network[-1].register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        network(image[None, None])
    pattern = patterns(steps_of(method, [2] * level))[-1]
    return maps[0][:, 0].numel(), to_dense(maps[0], pattern.offsets, pattern.side)[0].sum(0)
