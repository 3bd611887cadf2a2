"""The merge: hooks that average the submaps of a converted network where it wants one feature map."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ccnn.draws import Folded
from ccnn.submaps import merge


class MergeInput(Folded):
    """A forward pre-hook of the head: averages the submaps of its first argument."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (merge(args[0], self.submaps_now), *args[1:])


class MergeOutputs:
    """A forward hook of the whole network: averages the submaps of those outputs that still have some.

    Args:
        submaps: in training and in evaluation, the number of submaps of each such output, by its place among
            the output's tensors.
    """

    def __init__(self, submaps: dict[bool, dict[int, int]]) -> None:
        self.submaps = submaps

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        folded = self.submaps.get(module.training, {})
        leaves, structure = pytree.tree_flatten(output)
        place = -1
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                place += 1
                if place in folded:
                    leaves[i] = merge(leaf, folded[place])
        return pytree.tree_unflatten(leaves, structure)


class MergeReplaced:
    """A forward hook of a network whose submaps a head merges: does so at the output if the head was replaced.

    A new classifier put in place of the converted one, as for fine-tuning, comes without the hook at its input.
    Averaging what a linear classifier gives for each submap is the same as classifying their average.

    Args:
        submaps: that reach the head.
    """

    def __init__(self, submaps: int) -> None:
        self.submaps = submaps

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        # A compiled network has found its shapes already, and torch.compile wants no more of a hook than this.
        if torch.compiler.is_compiling() or not isinstance(output, Tensor) or not output.ndim:
            return None
        images = args[0].shape[0] if args and isinstance(args[0], Tensor) else output.shape[0]
        if output.shape[0] == images or output.shape[0] != images * self.submaps:
            return None
        return merge(output, self.submaps)
