"""DenseNet-BC for small images (Huang et al. 2016, arXiv 1608.06993)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class _Layer(nn.Module):
    """BN-ReLU-1×1-BN-ReLU-3×3, whose output is concatenated to its input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        inner = 4 * growth
        self.branch = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], dim=1)


def _transition(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.AvgPool2d(2, ceil_mode=True),
    ]


class DenseNet(nn.Module):
    """A DenseNet-BC with a 3×3 stem of stride 1: bottleneck layers, compressing transitions.

    The poolings round up, so that images of any size go through; at 32×32 pixels that changes nothing.

    Args:
        depths: layers in each dense block.
        growth: channels that each layer adds, k.
        in_channels: of the images.
        num_classes: outputs of the classifier.
        compression: the part of the channels that a transition keeps, θ.

    Shape: (N, in_channels, H, W) → (N, num_classes), for any H, W.

    Raises:
        ValueError: for a compression that is not in (0, 1].

    Example:
        >>> DenseNet(depths=(6, 6, 6), growth=12)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depths: Sequence[int],
        growth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        compression: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < compression <= 1:
            raise ValueError(f"compression: expected more than 0 and at most 1, got {compression}")
        width = 2 * growth
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        stages = []
        for i, depth in enumerate(depths):
            layers: list[nn.Module] = [] if i == 0 else _transition(width, width := int(width * compression))
            layers += [_Layer(width + j * growth, growth) for j in range(depth)]
            width += depth * growth
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stages(self.stem(x))))
        return self.classifier(self.pool(x).flatten(1))
