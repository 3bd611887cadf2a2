"""What the tests of whole experiments share: small settings and the types of their fixtures."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig
from torch import nn

Compose = Callable[..., DictConfig]
Run = Callable[..., dict[str, Any]]

SMALL = ("trainer=cpu", "trainer.max_epochs=2", "+trainer.limit_train_batches=4", "data.batch_size=64")


def flat_network(in_channels: int, num_classes: int) -> nn.Module:
    """A network that subsamples nothing."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
