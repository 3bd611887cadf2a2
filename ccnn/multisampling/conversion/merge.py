"""The merge: hooks that average the submaps of a converted network where it wants one feature map."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..base import Folded
from ..submaps import merge


class MergeInput(Folded):
    """A forward pre-hook of the head, with keyword arguments: averages the submaps of its first tensor."""

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        submaps = self.placement.submaps_now(module.training)
        if args:
            return (merge(args[0], submaps), *args[1:]), kwargs
        name = next(name for name, value in kwargs.items() if isinstance(value, Tensor))
        return args, kwargs | {name: merge(kwargs[name], submaps)}


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
    """A forward pre-hook of a network whose submaps a head merges: sees to it that a new head does so as well.

    A classifier put in place of the converted one, as for fine-tuning, comes without the hook at its input.

    Args:
        head: the name of the head.
        hook: what merges at its input.
    """

    def __init__(self, head: str, hook: MergeInput) -> None:
        self.head, self.hook = head, hook

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        head = module.get_submodule(self.head)
        for part in head.modules():  # the old head may live on in the new one
            if any(isinstance(hook, MergeInput) for hook in part._forward_pre_hooks.values()):
                return
        head.register_forward_pre_hook(self.hook, prepend=True, with_kwargs=True)


class CountImages:
    """A forward hook of a network: tells if submaps are missing since another layer than the head was replaced.

    Raises:
        ValueError: if the network yields other than a row for each image.
    """

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling() or not args or not isinstance(args[0], Tensor):
            return
        images = args[0].shape[0]
        if isinstance(output, Tensor) and output.ndim and output.shape[0] != images:
            raise ValueError(
                f"the converted network got {images} images and yields {output.shape[0]} rows: was one of its "
                "layers replaced after the conversion? Replace layers first, then convert; only the classifier "
                "may be replaced later"
            )
