"""Numeric comparison of two forms of one network, call by call, in float64 with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import gcd, inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .base import Multisampling
from .conversion.meta import ConversionError, InputSize, first_map, gist, skeleton

Difference = Callable[[Tensor, Tensor], float | None]
"""How far two tensors are apart, relative to the largest value; None if they cannot be compared."""
TOLERANCE = 1e-6
"""Rounding in float64 stays far below it, whatever mixes the wrong pixels far above."""


@dataclass(frozen=True)
class Call:
    """One call of a module: its name, the first map it was called with, and all tensors it returned."""

    name: str
    received: Tensor | None
    returned: tuple[Tensor, ...]


def stand_in(model: nn.Module) -> nn.Module:
    """A cheap copy for comparisons: float64 on the CPU, in evaluation, with random weights.

    Trained weights can hide a difference (a residual branch may start at zero), so all are drawn. Convolutions get
    as many groups as their channels allow: it does not change which pixels an output depends on, and costs little.
    Dropout layers drop nothing.
    """
    copied = skeleton(model, "cpu")
    for module in copied.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        known = type(module).forward is nn.Conv2d.forward or isinstance(module, Multisampling)
        if not (known and isinstance(module, nn.Conv2d) and "weight" in module._parameters):
            continue
        if module.groups == 1 and (groups := gcd(module.in_channels, module.out_channels)) > 1:
            module.groups = groups
            shape = (module.out_channels, module.weight.shape[1] // groups, *module.weight.shape[2:])
            module.weight = nn.Parameter(torch.empty(shape))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in copied.double().parameters():
            if not parameter.is_floating_point():
                continue
            parameter.normal_(generator=generator).div_(
                max(1, parameter[0].numel()) ** 0.5 if parameter.ndim else 1
            )
            if parameter.ndim == 1:  # scales and shifts: positive, so that units stay alive
                parameter.abs_().clamp_(0.3, 1.5)
        # Buffers may be tables of indices, which must stay; those of a model on the meta device have no values.
        for ours, theirs in zip(_tensors(copied), _tensors(model), strict=True):
            if theirs.is_meta:
                ours.fill_(1)
            else:
                ours.copy_(theirs)
    return copied.eval()


def _tensors(model: nn.Module) -> list[Tensor]:
    """Buffers, and tensors that are plain attributes."""
    loose = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return [*model.buffers(), *loose]


def small_images(model: nn.Module, input_size: InputSize, unit: int) -> Tensor:
    """Two random images of a stand-in, as small as it takes: one, two or four units on a side, or `input_size`.

    One unit, the product of the strides, is enough: within it lie all submaps of a pixel of the last map.

    Raises:
        ConversionError: if it runs on none of them.
    """
    generator = torch.Generator().manual_seed(1)
    sizes = [(side * unit, side * unit) for side in (1, 2, 4) if side * unit < max(input_size[1:])]
    for size in [*sizes, input_size[1:]]:
        x = torch.randn(2, input_size[0], *size, generator=generator, dtype=torch.float64)
        try:
            calls_of(model, x, root_only=True)
        except ConversionError as error:
            failure = error
        else:
            return x
    raise failure


def calls_of(
    model: nn.Module, x: Tensor, keep: Callable[[Tensor], Tensor] = torch.clone, root_only: bool = False
) -> list[Call]:
    """All calls of modules, in the order in which they end; the network's own comes last.

    Args:
        model: the network.
        x: its input.
        keep: what to keep of each tensor: copies, since operations in place change what was recorded.
        root_only: record the network's own call alone, for the memory's sake.

    Raises:
        ConversionError: if the network does not run on `x`; it names the module that fails.
    """
    running: list[tuple[str, Tensor | None]] = []
    calls: list[Call] = []

    def enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = first_map(args, kwargs)
        running.append((name, None if x is None or root_only else keep(x)))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        name, received = running.pop()
        if not (root_only and name):
            calls.append(Call(name, received, tuple(keep(leaf) for leaf in _leaves(output))))

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(partial(enter, name), with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad():
            model(x)
    except Exception as error:
        where = _place(running[-1][0] if running else "")
        raise ConversionError(
            f"{where} does not run on images of {x.shape[2]}×{x.shape[3]}: {gist(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _place(name: str) -> str:
    return repr(name) if name else "the model's own forward"


def _leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def relative(got: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, relative to the largest value; infinite for NaN.

    >>> relative(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    0.5
    """
    if not expected.numel():
        return 0.0
    difference = ((got - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).item()
    return difference if difference == difference else inf


def compare(ours: nn.Module, theirs: nn.Module, x: Tensor, difference: Difference) -> tuple[float, str]:
    """Compares the outputs of two forms of a network.

    Returns:
        The largest relative difference of the outputs, infinite if they cannot be compared, and the module where
        it begins; empty within `TOLERANCE`.

    Raises:
        ConversionError: if one of them does not run.
    """
    (own,), (other,) = calls_of(ours, x, root_only=True), calls_of(theirs, x, root_only=True)
    differences = [difference(a, b) for a, b in zip(own.returned, other.returned, strict=True)]
    largest = max((inf if d is None else d for d in differences), default=0.0)
    if largest <= TOLERANCE:
        return largest, ""
    for own, other in zip(calls_of(ours, x), calls_of(theirs, x), strict=True):
        before = 0.0
        if own.name and own.received is not None and other.received is not None:
            before = difference(own.received, other.received) or 0.0
        after = [difference(a, b) for a, b in zip(own.returned, other.returned, strict=True)]
        if before > TOLERANCE:  # something between two modules
            return largest, _place(own.name.rpartition(".")[0])
        if any(d is None or d > TOLERANCE for d in after):
            return largest, _place(own.name)
    return largest, _place("")
