"""The networks that are measured, and the forms they are measured in."""

from collections.abc import Callable

import torch
import torchvision
from torch import nn

import ccnn
from ccnn.benchmark.baseline_5d import to_5d
from ccnn.models import TINY, VGG, DenseNet, Toy, checkpoint_stages, resnet
from ccnn.multisampling.conversion.meta import InputSize
from ccnn.multisampling.samplers import METHODS

_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet(18),
    "resnet50_tiny": lambda: resnet(50, channels=TINY, expansion=2),
    "vgg11_bn": lambda: VGG(11),
    "densenet_bc40": lambda: DenseNet((6, 6, 6), 12),
    "toy": lambda: Toy(),
    "resnet18_narrow": lambda: resnet(18, channels=(8, 12, 16, 24), in_channels=1),
}
"""The project's networks; all other names are torchvision's."""


def build(name: str) -> nn.Module:
    """A network of the project or of torchvision, with the same random weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _BUILDERS[name]() if name in _BUILDERS else torchvision.models.get_model(name, weights=None)


def _sampled(sampling: str | ccnn.Sampling) -> Callable[[nn.Module, InputSize], nn.Module]:
    return lambda model, size: ccnn.convert(model, size, sampling)


def _checkpointed(model: nn.Module, size: InputSize) -> nn.Module:
    checkpoint_stages(ccnn.convert(model, size))
    return model


def _plain(model: nn.Module, size: InputSize) -> nn.Module:
    return model


FORMS: dict[str, Callable[[nn.Module, InputSize], nn.Module]] = {
    "plain": _plain,
    **{name: _sampled(name) for name in METHODS if name != "custom"},
    "lattice skip_first=1": _sampled(ccnn.Sampling("lattice", skip_first=1)),
    "naive, checkpointed": _checkpointed,
    "5-D": lambda model, size: to_5d(model),
    "5-D, literal": lambda model, size: to_5d(model, literal=True),
    # Table 3's names:
    "original": _plain,
    "dilated": ccnn.dilate,
    "checkered, naive": _sampled("naive"),
    "checkered, lattice": _sampled("lattice"),
}
"""What a network is converted to before it is measured."""

SAME_COST_IN_TRAINING = {"random": "naive", "stochastic": "plain"}
"""Fake tensors have no values to draw samples from; these forms do as much work as those that are drawn."""


def network(name: str, form: str, input_size: InputSize) -> nn.Module:
    """A network in one of its forms.

    Example:
        >>> ccnn.conversion_report(network("toy", "naive", (1, 28, 28))).submaps
        2
    """
    return FORMS[form](build(name), input_size)
