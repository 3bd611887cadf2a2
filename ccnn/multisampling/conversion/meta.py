"""Dry runs: a copy of a network on the meta device, which has shapes and no numbers."""

import copy
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

InputSize = tuple[int, int, int]
IMAGES = 3  # More than one, so that a batch does not look like an axis of size 1.


class ConversionError(ValueError):
    """The model cannot be converted; it is left as it was."""


@dataclass(frozen=True)
class Inputs:
    """What a dry run passes to a network.

    Attributes:
        args, kwargs: as of the network's forward.
        size: (C, H, W) if it takes one batch of images.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    size: InputSize | None = None

    @classmethod
    def of(cls, input_size: Any, example_inputs: Any = None) -> "Inputs":
        """Inputs of a size, or like examples.

        Raises:
            ValueError: for a malformed size or examples.
        """
        if example_inputs is None:
            images = checked(input_size)
            return cls((torch.empty(1, *images, device="meta"),), {}, images)
        match example_inputs:
            case Tensor():
                args, kwargs = (example_inputs,), {}
            case (tuple() | list() as positional, dict() as named):
                args, kwargs = tuple(positional), named
            case tuple() | list():
                args, kwargs = tuple(example_inputs), {}
            case _:
                raise ValueError(
                    "example_inputs: expected a tensor, a tuple of arguments, or a pair (arguments, keyword "
                    f"arguments), got {type(example_inputs).__name__}"
                )
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not tensors:
            raise ValueError("example_inputs: expected at least one tensor")
        image = next((tensor for tensor in tensors if tensor.ndim == 4), None)
        size = None if image is None else (image.shape[1], image.shape[2], image.shape[3])
        return cls(args, kwargs, size)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Inputs":
        # Copies of a converted network share it: it never changes, and FakeTensorMode cannot copy its tensors.
        return self

    def without_numbers(self) -> "Inputs":
        """The same shapes on the meta device."""
        args, kwargs = pytree.tree_map(
            lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, (self.args, self.kwargs)
        )
        return Inputs(args, kwargs, self.size)

    def blank(self, model: nn.Module, images: int = IMAGES) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments without numbers, of so many images."""
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
        tensors = [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]
        batch = next((tensor.shape[0] for tensor in tensors if tensor.ndim), 1)

        def like(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            shape = list(leaf.shape)
            if shape and shape[0] == batch:
                shape[0] = images
            return torch.empty(shape, dtype=dtype if leaf.is_floating_point() else leaf.dtype, device="meta")

        args, kwargs = pytree.tree_map(like, (self.args, self.kwargs))
        return args, kwargs


def checked(input_size: Any) -> InputSize:
    """An input size as it must be.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> checked((3, 32, 32))
        (3, 32, 32)
    """
    match input_size:
        case int(channels), int(height), int(width) if min(channels, height, width) > 0:
            return channels, height, width
    got = tuple(input_size.shape) if isinstance(input_size, Tensor) else input_size
    got = type(got).__name__ if isinstance(got, nn.Module) else got
    raise ValueError(f"input_size: expected (channels, height, width), without the batch, got {got!r}")


def skeleton(model: nn.Module, device: str = "meta") -> nn.Module:
    """A copy of the model on the meta device: everything but the numbers.

    Args:
        model: the model.
        device: another one for use under a FakeTensorMode, which has no numbers on any device.

    Raises:
        ConversionError: if the model has lazy layers or cannot be copied.

    Example:
        >>> skeleton(nn.Linear(2, 3)).weight.device
        device(type='meta')
    """
    memo: dict[int, Any] = {}
    loose = [v for m in model.modules() for v in pytree.tree_leaves(_own(m)) if isinstance(v, Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *loose):
        if isinstance(tensor, nn.UninitializedParameter):
            raise ConversionError("convert: the model has lazy layers; run it once on a batch, then convert it")
        empty = torch.empty_like(tensor, device=device)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    for module in model.modules():
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            # A copied hook that is an object works on its copy; a function would reach out of the dry run.
            if isinstance(hook, FunctionType | MethodType):
                memo[id(hook)] = _no_hook
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise ConversionError(f"convert: the model cannot be copied for a dry run: {gist(error)}") from error


def _own(module: nn.Module) -> list[Any]:
    """A module's attributes other than its parts."""
    return [value for name, value in vars(module).items() if name not in ("_parameters", "_buffers", "_modules")]


def _no_hook(*args: Any, **kwargs: Any) -> None:
    """Takes the place of a user's hook in a dry run."""


def outputs(model: nn.Module, input_size: InputSize | Inputs, images: int = IMAGES) -> list[Tensor]:
    """Runs a skeleton on blank images of `input_size` (C, H, W) and returns all tensors of its output."""
    inputs = input_size if isinstance(input_size, Inputs) else Inputs.of(input_size)
    args, kwargs = inputs.blank(model, images)
    with torch.no_grad(), torch.device("meta"):
        leaves = pytree.tree_leaves(model(*args, **kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def first_map(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first tensor of at least two dimensions that a module is called with."""
    leaves = pytree.tree_leaves((args, kwargs))
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim >= 2), None)


def gist(error: Exception) -> str:
    """Type and first line of an error.

    >>> gist(KeyError("a"))
    "KeyError: 'a'"
    """
    return f"{type(error).__name__}: {(str(error).strip() or '(no message)').splitlines()[0]}"
