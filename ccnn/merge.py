"""The merge: hooks that average the submaps of a converted network where it wants one feature map."""

from typing import Any

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
