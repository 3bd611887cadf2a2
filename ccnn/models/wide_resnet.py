"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146)."""

from torch import Tensor, nn

from ccnn.multisampling.convolution import CheckeredConv2d


class _Block(nn.Module):
    """A residual block whose norms and activations come before its convolutions.

    Where the shape changes, the projection shares the first of them, as in the paper of these networks.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float, depth: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            CheckeredConv2d(out_channels, out_channels, 3, padding=1, bias=False, depth=depth, wrap=True)
            if depth > 1
            else nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.projection: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.projection is None:
            return x + self.branch(self.first(x))
        x = self.first(x)
        return self.projection(x) + self.branch(x)


class WideResNet(nn.Module):
    """A ResNet with few, wide layers: three stages of 16, 32 and 64 times `width` channels, strides 1, 2, 2.

    Args:
        depth: number of layers, 6·n + 4 for n blocks a stage; the paper has 28.
        width: the widening factor; the paper has 10.
        in_channels: of the images.
        num_classes: outputs of the classifier.
        dropout: probability of dropping a value between the two convolutions of a block.
        submap_depth: 2 makes the last convolution of the second and of the third stage 2×3×3, across submaps
            ("+ 2×3×3 convolutions" in Table 1). The paper does not say which convolutions those are; these are,
            as in its toy network, the last where there are submaps. To keep the number of submaps the kernel
            wraps past the last submap into the next row of the first.

    Shape: (N, in_channels, H, W) → (N, num_classes), for any H, W.

    Raises:
        ValueError: for a depth that is not 6·n + 4, or a width or submap depth below 1.

    Example:
        >>> sum(parameter.numel() for parameter in WideResNet(depth=10, width=1).parameters())
        77850
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 10,
        in_channels: int = 3,
        num_classes: int = 10,
        dropout: float = 0.0,
        submap_depth: int = 1,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth: expected 10, 16, 22, 28 or another 6·n + 4, got {depth}")
        if width < 1 or submap_depth < 1:
            raise ValueError(f"width, submap_depth: expected at least 1, got {width} and {submap_depth}")
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        channels = 16
        stages = []
        for stage, (out_channels, stride) in enumerate(((16 * width, 1), (32 * width, 2), (64 * width, 2))):
            parts = []
            for block in range(blocks):
                across = submap_depth if stage > 0 and block == blocks - 1 else 1
                parts.append(_Block(channels, out_channels, stride if block == 0 else 1, dropout, across))
                channels = out_channels
            stages.append(nn.Sequential(*parts))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stages(self.stem(x))))
        return self.classifier(self.pool(x).flatten(1))
