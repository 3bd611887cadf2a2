"""Every call of a network's modules in evaluation, and of the plain network that it was converted from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from .base import Multisampling, Placement
from .conversion import is_converted, unconvert
from .conversion.meta import InputSize, outputs, skeleton
from .joint import Joint


@dataclass
class Call:
    """One call of a module, without the modules that it calls.

    Attributes:
        name: of the module in the network.
        module: in the skeleton.
        received: shape of the first tensor it was called with, () without one.
        shape: shape of the first tensor it returned.
        parameters: trainable ones that no earlier call had.
        flops: two per multiply-add.
    """

    name: str
    module: nn.Module
    received: tuple[int, ...]
    shape: tuple[int, ...] = ()
    parameters: int = 0
    flops: int = 0


def calls_of(dry: nn.Module, size: InputSize) -> list[Call]:
    """All calls of modules for one image, in the order in which they end; the network's own comes last."""
    finished: list[Call] = []
    running: list[Call] = []
    counted = 0
    seen: set[int] = set()

    def count() -> None:
        """Adds what was computed since the last count to the innermost module that is running."""
        nonlocal counted
        total = int(counter.get_total_flops())
        if running:
            running[-1].flops += total - counted
        counted = total

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        count()
        running.append(Call(name, module, _shape((args, kwargs))))
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                running[-1].parameters += parameter.numel()

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        count()
        running[-1].shape = _shape(output)
        finished.append(running.pop())

    for name, module in dry.named_modules():
        module.register_forward_pre_hook(partial(enter, name), with_kwargs=True)
        module.register_forward_hook(leave)
    with FlopCounterMode(display=False) as counter:
        outputs(dry.eval(), size, images=1)
    return finished


def make_plain(model: nn.Module) -> None:
    """Turns a converted network into the plain one, in place."""
    if is_converted(model):
        unconvert(model)
    for module in model.modules():
        if isinstance(module, Multisampling | Joint):  # built by hand
            module.placement = Placement(method=module.placement.method)


def plain_calls(model: nn.Module, size: InputSize, calls: list[Call]) -> Sequence[Call | None]:
    """The same calls in the plain network; None for each if there is no plain network."""
    dry = skeleton(model)
    make_plain(dry)
    try:
        plain = calls_of(dry, size)
    except Exception:
        plain = []  # The network merges submaps in its own forward.
    same = [call.name for call in plain] == [call.name for call in calls]
    return plain if same else [None] * len(calls)


def _shape(tree: Any) -> tuple[int, ...]:
    """The shape of the first tensor, preferably of one with at least two dimensions."""
    shapes = [tuple(leaf.shape) for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
    return next((shape for shape in shapes if len(shape) > 1), shapes[0] if shapes else ())
