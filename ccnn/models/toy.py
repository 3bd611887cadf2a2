"""The paper's small networks for MNIST (Table 8)."""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

from ccnn.multisampling.convolution import CheckeredConv2d


class Toy(nn.Module):
    """Five 3×3 convolutions, the third of stride 2: 67,913 parameters for one channel and ten classes.

    Args:
        in_channels: of the images.
        num_classes: outputs of the classifier.
        dropout: probability of dropping a channel before the pooling.
        depth: 2 makes the last convolution 2×3×3, across both submaps of the converted network: 93,833
            parameters. In a network that is not converted, both slices of the kernel see the one map.

    Shape: (N, in_channels, H, W) → (N, num_classes), for any H, W.

    Raises:
        ValueError: for a depth below 1.

    Example:
        >>> sum(parameter.numel() for parameter in Toy().parameters())
        67913
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, dropout: float = 0.2, depth: int = 1) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth: expected at least 1, got {depth}")
        widths = (in_channels, 32, 32, 45, 45, 64)
        stages: list[dict[str, nn.Module]] = [{}, {}]
        for i, (before, after) in enumerate(pairwise(widths), start=1):
            layers = stages[i > 2]
            if i == 5 and depth > 1:
                layers[f"conv{i}"] = CheckeredConv2d(before, after, 3, padding=1, depth=depth)
            else:
                layers[f"conv{i}"] = nn.Conv2d(before, after, 3, stride=2 if i == 3 else 1, padding=1)
            layers[f"norm{i}"] = nn.BatchNorm2d(after)
            layers[f"relu{i}"] = nn.ReLU(inplace=True)
        self.stages = nn.Sequential(*(nn.Sequential(OrderedDict(layers)) for layers in stages))
        self.dropout = nn.Dropout2d(dropout)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.dropout(self.stages(x))).flatten(1))
