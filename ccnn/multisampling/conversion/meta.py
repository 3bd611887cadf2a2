"""The dry run: passes on the meta device that tell what every layer of a network does and receives."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

InputSize = tuple[int, int, int]
IMAGES = 3  # With one image, branches that disagree in submaps would broadcast silently.


class ConversionError(ValueError):
    """The model cannot be converted; it is left as it was."""


def checked(input_size: Any) -> InputSize:
    """An input size as it must be.

    Raises:
        ValueError: if it is something else.
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
    """
    memo: dict[int, Any] = {}
    loose = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *loose):
        if isinstance(tensor, nn.UninitializedParameter):
            raise ConversionError("convert: the model has lazy layers; run it once on a batch, then convert it")
        empty = torch.empty_like(tensor, device=device)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    try:
        dry = copy.deepcopy(model, memo)
    except Exception as error:
        raise ConversionError(f"convert: the model cannot be copied for a dry run: {gist(error)}") from error
    for module in dry.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            # A copied hook that is an object works on its copy; a plain function would reach out of the dry run.
            for key in [key for key, hook in hooks.items() if isinstance(hook, FunctionType)]:
                del hooks[key]
    return dry


def outputs(model: nn.Module, input_size: InputSize, images: int = IMAGES) -> list[Tensor]:
    """Runs a skeleton on blank images of `input_size` (C, H, W) and returns all tensors of its output."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    with torch.no_grad(), torch.device("meta"):
        leaves = pytree.tree_leaves(model(torch.empty(images, *input_size, dtype=dtype)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def first_map(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first tensor of at least two dimensions that a module is called with."""
    leaves = pytree.tree_leaves((args, kwargs))
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim >= 2), None)


@dataclass
class Watch:
    """Watches the calls of a network: which module is running, and what reaches it.

    Attributes:
        active: names of the modules that are running, the innermost last.
        on_call: called with name, module and input map before each call of a module.
        on_return: called with name, module and output after it.
    """

    model: nn.Module
    on_call: Callable[[str, nn.Module, Tensor], None]
    on_return: Callable[[str, nn.Module, Any], None] = lambda name, module, output: None

    def __post_init__(self) -> None:
        self.active: list[str] = []
        self._handles: list[RemovableHandle] = []
        for name, module in self.model.named_modules():
            self.also(name, module)

    def also(self, name: str, module: nn.Module) -> None:
        """Watches a layer that is no submodule."""
        self._handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
        self._handles.append(module.register_forward_hook(self._leave(name)))

    def close(self) -> None:
        """Ends the watch."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.active.append(name)
            if (x := first_map(args, kwargs)) is not None:
                self.on_call(name, module, x)

        return hook

    def _leave(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self.active.pop()
            self.on_return(name, module, output)

        return hook


def gist(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip() or '(no message)').splitlines()[0]}"
