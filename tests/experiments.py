"""What the tests share: small settings, the types of their fixtures, networks without special values."""

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


def randomised(model: nn.Module) -> nn.Module:
    """The model, its batch norms with statistics and weights that a mistake cannot hide behind."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model
