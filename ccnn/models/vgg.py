"""VGG with batch normalisation for small images (Simonyan & Zisserman 2014, arXiv 1409.1556)."""

from torch import Tensor, nn

_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """A VGG-BN with a 512-512-classes head with dropout.

    The poolings round up, so that images of any size go through all five; at 32×32 pixels that changes
    nothing.

    Args:
        depth: number of layers: 11, 13, 16 or 19.
        in_channels: of the images.
        num_classes: outputs of the classifier.
        dropout: probability of dropping a feature in the head.

    Shape: (N, in_channels, H, W) → (N, num_classes), for any H, W.

    Raises:
        ValueError: for another depth.

    Example:
        >>> sum(parameter.numel() for parameter in VGG(11).parameters())
        9756426
    """

    def __init__(self, depth: int = 11, in_channels: int = 3, num_classes: int = 10, dropout: float = 0.5) -> None:
        super().__init__()
        if depth not in _STAGES:
            raise ValueError(f"depth: expected one of {', '.join(map(str, _STAGES))}, got {depth}")
        stages = []
        width = in_channels
        for convolutions, channels in zip(_STAGES[depth], (64, 128, 256, 512, 512), strict=True):
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                conv = nn.Conv2d(width, channels, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
                layers += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
                width = channels
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(512, 512), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(512, 512), nn.ReLU(inplace=True),
            nn.Linear(512, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.stages(x)).flatten(1))
