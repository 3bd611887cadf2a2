"""ResNets for small images (He et al. 2015, arXiv 1512.03385), as wide and as deep as the paper has them."""

from collections.abc import Sequence

from torch import Tensor, nn


class _Block(nn.Module):
    """A residual block: relu(branch(x) + shortcut(x)), with a projection where the shape changes."""

    def __init__(self, branch: nn.Sequential, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(*_conv(in_channels, out_channels, 1, stride))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A ResNet with a 3×3 stem of stride 1 and four stages of strides 1, 2, 2, 2.

    Args:
        depths: blocks in each stage.
        bottleneck: 1×1-3×3-1×1 blocks instead of 3×3-3×3 ones.
        in_channels: of the images.
        num_classes: outputs of the classifier.
        channels: width of each stage, inside the blocks.
        expansion: width of a bottleneck's output relative to its inside.

    Shape: (N, in_channels, H, W) → (N, num_classes), for any H, W.
    """

    def __init__(
        self,
        depths: Sequence[int],
        bottleneck: bool,
        in_channels: int = 3,
        num_classes: int = 10,
        channels: Sequence[int] = (64, 128, 256, 512),
        expansion: int = 4,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(in_channels, channels[0], 3), nn.ReLU(inplace=True))
        width = channels[0]
        stages = []
        for i, (depth, inner) in enumerate(zip(depths, channels, strict=True)):
            outer = inner * expansion if bottleneck else inner
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                branch = _bottleneck(width, inner, outer, stride) if bottleneck else _basic(width, outer, stride)
                blocks.append(_Block(branch, width, outer, stride))
                width = outer
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block):
                # Each block starts as its shortcut, so that deep networks train from the first step on.
                last = module.branch[-1]
                assert isinstance(last, nn.BatchNorm2d)
                nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.stages(self.stem(x))).flatten(1))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


def _basic(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_conv(in_channels, out_channels, 3, stride),
        nn.ReLU(inplace=True),
        *_conv(out_channels, out_channels, 3),
    )


def _bottleneck(in_channels: int, inner: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_conv(in_channels, inner, 1),
        nn.ReLU(inplace=True),
        *_conv(inner, inner, 3, stride),
        nn.ReLU(inplace=True),
        *_conv(inner, out_channels, 1),
    )


TINY = (64, 91, 128, 181)
"""Stage widths of the paper's tiny ResNets (Table 7), whose bottlenecks widen by 2 only."""

_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    depth: int,
    in_channels: int = 3,
    num_classes: int = 10,
    channels: Sequence[int] = (64, 128, 256, 512),
    expansion: int = 4,
) -> ResNet:
    """The ResNet with the given number of layers: 18, 34 (basic blocks), 50, 101 or 152 (bottlenecks).

    Args:
        depth: number of layers.
        in_channels, num_classes, channels, expansion: as of `ResNet`.

    Raises:
        ValueError: for another depth, or stage widths that are not four.

    Example:
        >>> model = resnet(18, num_classes=100)
        >>> sum(parameter.numel() for parameter in model.parameters())
        11220132
    """
    if depth not in _DEPTHS:
        raise ValueError(f"depth: expected one of {', '.join(map(str, _DEPTHS))}, got {depth}")
    if len(channels) != 4:
        raise ValueError(f"channels: expected the widths of 4 stages, got {list(channels)}")
    return ResNet(_DEPTHS[depth], depth >= 50, in_channels, num_classes, channels, expansion)
