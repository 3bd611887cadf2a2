"""One network's plain form and its converted ones, all on the same weights."""

import copy
from dataclasses import dataclass, replace

from torch import nn

import ccnn
from ccnn.errors import UserError
from ccnn.multisampling.conversion.meta import InputSize
from ccnn.multisampling.samplers import Sampling


@dataclass(frozen=True)
class Network:
    """A network to be scored.

    Attributes:
        model: in evaluation mode.
        sampling: how it was converted; None for the plain network.
        as_trained: whether its weights were trained in this form.
        multiply_adds: for one image.
        submaps: that are merged for one image.
    """

    model: nn.Module
    sampling: Sampling | None
    as_trained: bool
    multiply_adds: int
    submaps: int

    @property
    def name(self) -> str:
        """`CNN`, or `CCNN` with its sampling."""
        return "CNN" if self.sampling is None else f"CCNN {self.sampling}"


def networks(
    plain: nn.Module, samplings: list[Sampling], trained: Sampling | None, input_size: InputSize, of_a_run: bool
) -> list[Network]:
    """The plain network, and a converted copy for each sampling that holds the same parameters and buffers.

    Args:
        plain: on its device; put into evaluation mode.
        samplings: in the order of the result.
        trained: how the weights were trained, None: plain.
        input_size: (3, H, W) of the images.
        of_a_run: whether it is known how the weights were trained.

    Raises:
        UserError: the network cannot be converted.
    """
    plain.eval().requires_grad_(False)
    found = [Network(plain, None, of_a_run and trained is None, ccnn.multiply_adds(plain, input_size), 1)]
    for sampling in samplings:
        model = shared_copy(plain)
        try:
            ccnn.convert(model, input_size, sampling)
        except ccnn.ConversionError as error:
            reason = str(error).removeprefix("convert: ")
            raise UserError(f"evaluation: the network cannot be converted with {sampling}: {reason}") from error
        submaps = ccnn.conversion_report(model).submaps
        cost = ccnn.multiply_adds(model, input_size)
        found.append(Network(model, sampling, of_a_run and sampling == trained, cost, submaps))
    return found


def shared_copy(model: nn.Module) -> nn.Module:
    """A copy with modules of its own, on the same parameters and buffers: it takes no memory to speak of."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def in_evaluation(sampling: Sampling) -> Sampling:
    """What a method is once training is over, written as if it had been chosen."""
    return replace(sampling.in_evaluation(), evaluation=Sampling.evaluation)
