"""One network's plain form and its converted ones, all on the same weights."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

import ccnn
from ccnn.errors import UserError
from ccnn.multisampling.samplers import Sampling


@dataclass(frozen=True)
class Network:
    """A network to be scored.

    Attributes:
        model: in evaluation mode.
        sampling: how it was converted; None for the plain network.
        as_trained: whether its weights were trained in this form.
        multiply_adds: for one image.
        submaps: merged for one image.
    """

    model: nn.Module
    sampling: Sampling | None = None
    as_trained: bool = False
    multiply_adds: int = 1
    submaps: int = 1

    @property
    def name(self) -> str:
        """`CNN`, or `CCNN` with its sampling."""
        return "CNN" if self.sampling is None else f"CCNN {self.sampling}"


def networks(
    plain: nn.Module,
    samplings: Sequence[Sampling],
    trained: Sampling | None,
    size: tuple[int, int, int],
    run: bool,
) -> list[Network]:
    """The plain network, then a converted copy for each sampling, on the same parameters and buffers.

    Args:
        plain: on its device; put into evaluation mode.
        samplings: in the order of the result.
        trained: how the weights were trained; None: plain.
        size: (C, H, W) of the images.
        run: whether the weights come from a run, so that `trained` is known.

    Raises:
        UserError: the network cannot be converted.
    """
    plain.eval().requires_grad_(False)
    result = [Network(plain, None, run and trained is None, ccnn.multiply_adds(plain, size))]
    for sampling in samplings:
        model = shared_copy(plain)
        try:
            ccnn.convert(model, size, sampling)
        except ccnn.ConversionError as error:
            reason = str(error).removeprefix("convert: ")
            raise UserError(f"evaluation: the network cannot be converted with {sampling}: {reason}") from error
        submaps = ccnn.conversion_report(model).submaps
        result.append(
            Network(model, sampling, run and sampling == trained, ccnn.multiply_adds(model, size), submaps)
        )
    return result


def shared_copy(model: nn.Module) -> nn.Module:
    """Copies the modules but not the parameters and buffers, so that ten networks take the memory of one."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def in_evaluation(sampling: Sampling) -> Sampling:
    """The sampling once training is over, written as if it had been chosen.

    Example:
        >>> str(in_evaluation(Sampling("random", evaluation="naive")))
        'naive'

    """
    return replace(sampling.in_evaluation(), evaluation=Sampling.evaluation)
