"""The merge: hooks that average the submaps of a converted network where it wants one value for each image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..base import Folded, Placement
from ..submaps import merge


class MergeInput(Folded):
    """A forward pre-hook of the head: averages the submaps of its inputs.

    Args:
        placement: how many submaps there are.
        places: of the tensors among the arguments.
    """

    def __init__(self, placement: Placement, places: tuple[int, ...] = (0,)) -> None:
        self.placement, self.places = placement, places

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        submaps = self.placement.submaps_now(module.training)
        leaves, structure = pytree.tree_flatten((args, kwargs or {}))
        for place in self.places:
            if place < len(leaves) and isinstance(leaves[place], Tensor):
                leaves[place] = merge(leaves[place], submaps)
        merged = pytree.tree_unflatten(leaves, structure)
        # Some copies of a module keep its hooks but forget that they take keyword arguments.
        return merged[0] if kwargs is None else merged


class MergeOutputs:
    """A forward hook of the whole network: averages the submaps of those outputs that still have some.

    Args:
        folded: in training and in evaluation, for each such output, by its place among the output's tensors: how
            many submaps it has, and in which dimension.
    """

    def __init__(self, folded: dict[bool, dict[int, tuple[Placement, int]]]) -> None:
        self.folded = folded

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        folded = self.folded.get(module.training, {})
        leaves, structure = pytree.tree_flatten(output)
        place = -1
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                place += 1
                if place in folded:
                    placement, dim = folded[place]
                    leaves[i] = merge(leaf.movedim(dim, 0), placement.submaps_now(module.training)).movedim(0, dim)
        return pytree.tree_unflatten(leaves, structure)


class MergeReplaced:
    """A forward pre-hook of the network: sees to it that a head that was replaced merges as well.

    A classifier put in place of the converted one, as for fine-tuning, comes without the hook at its input, or
    with that hook somewhere inside.

    Args:
        head: the name of the head.
        hook: what merges at its input.
    """

    def __init__(self, head: str, hook: MergeInput) -> None:
        self.head, self.hook = head, hook

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        head = module.get_submodule(self.head)
        if any(isinstance(hook, MergeInput) for hook in head._forward_pre_hooks.values()):
            return
        remove_hooks(head, MergeInput)
        head.register_forward_pre_hook(self.hook, prepend=True, with_kwargs=True)


class CountImages:
    """A forward hook of a network: raises if submaps are missing since a layer other than the head was replaced.

    Raises:
        ValueError: if the network does not yield one row for each image.
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


def remove_hooks(model: nn.Module, *kinds: type) -> None:
    """Removes the hooks of some kinds from a module and all its parts."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(hook, kinds)]:
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
