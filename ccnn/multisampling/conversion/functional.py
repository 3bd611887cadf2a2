"""Functional calls within a module's own forward that need to know of submaps: poolings and reductions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..base import Multisampling
from ..joint import JointReduction
from ..pooling import CheckeredAvgPool2d, CheckeredMaxPool2d
from ..windows import pair

Call = Multisampling | JointReduction
"""What takes the place of a functional call; `where` is its name."""
Calls = dict[bool, list[Call | None]]
"""What takes the place of a module's poolings (False) and reductions of whole maps (True), in their order."""

_POOLINGS: dict[Callable[..., Any], str] = {
    torch.max_pool2d: "max_pool2d",
    F.max_pool2d: "max_pool2d",
    F.max_pool2d_with_indices: "max_pool2d",
    F.avg_pool2d: "avg_pool2d",
}
_REDUCTIONS: dict[Callable[..., Any], str] = {
    torch.mean: "mean",
    Tensor.mean: "mean",
    torch.amax: "amax",
    Tensor.amax: "amax",
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
}


def kind_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Which function a call is, if it is one that may need to know of submaps; empty for all others.

    Poolings count with any stride, reductions only where a whole feature map (N, C, H, W) is reduced.
    """
    if func in _POOLINGS:
        return _POOLINGS[func]
    name = _REDUCTIONS.get(func, "")
    return name if name and _reduces(name, args, kwargs) else ""


def is_reduction(kind: str) -> bool:
    """Whether `kind_of` says that a call reduces a whole feature map."""
    return kind in _REDUCTIONS.values()


def _reduces(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    x = args[0] if args else kwargs.get("input")
    if not isinstance(x, Tensor) or x.ndim != 4:
        return False
    key = "output_size" if name.startswith("adaptive") else "dim"
    value = args[1] if len(args) > 1 else kwargs.get(key)
    if key == "output_size":
        return not kwargs.get("return_indices") and value in (1, (1, 1), [1, 1])
    return isinstance(value, tuple | list) and sorted(axis % 4 for axis in value) == [2, 3]


def pooling(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Multisampling | None:
    """The layer that pools as a call does; None for a call without a stride that can be multisampled."""
    settings = _settings(kind, args, kwargs)
    stride = settings.get("stride", settings["kernel_size"])
    if stride == (1, 1) or stride[0] != stride[1] or settings.get("return_indices"):
        return None
    layer: Multisampling = _LAYERS[kind](**settings)
    layer.__dict__["settings"] = settings
    return layer


def _settings(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a pooling call but for its input, by name, sizes as pairs."""
    values = dict(zip(_PARAMETERS[kind], args[1:], strict=False)) | {
        name: value for name, value in kwargs.items() if name != "input"
    }
    values = {name: value for name, value in values.items() if value is not None and value != []}
    return {name: pair(value) if name in _SIZES else value for name, value in values.items()}


def call_name(owner: str, kind: str, place: int) -> str:
    """How a functional call is called in reports: `Mixed_6a.max_pool2d[0]`."""
    return f"{owner}.{kind}[{place}]".lstrip(".")


_PARAMETERS = {
    "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}
_SIZES = ("kernel_size", "stride", "padding", "dilation")
_LAYERS: dict[str, Any] = {"max_pool2d": CheckeredMaxPool2d, "avg_pool2d": CheckeredAvgPool2d}


class _Depth:
    """How deep a module's forward is within other modules, counted by hooks of these."""

    now = 0

    def enter(self, module: nn.Module, args: Any) -> None:
        self.now += 1

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.now -= 1


class FunctionalCalls(nn.Module):
    """A rule for modules that pool or reduce maps in their own forward: each call goes to a layer instead.

    The calls are known by their order, so a forward that checkpoints a part of itself cannot be followed.

    Attributes:
        calls: the layers. They have no parameters and are no submodules, so names and state stay as they are.
        depth: above 0 while a submodule runs, whose calls are none of this module's.
    """

    calls: Calls
    depth: _Depth

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.depth.now = 0
        for layer in (layer for layers in self.calls.values() for layer in layers if layer is not None):
            layer.training = self.training  # they are no submodules, which `train()` would reach
        with _Redirect(self.calls, self.depth):
            return super().forward(*args, **kwargs)


def redirect(module: nn.Module, calls: Calls, nested: bool) -> None:
    """Gives a module, which is a `FunctionalCalls` already, the layers for its calls.

    Args:
        module: the module.
        calls: the layers.
        nested: whether its submodules pool or reduce maps as well.
    """
    depth = _Depth()
    module.__dict__.update(calls=calls, depth=depth)
    for part in list(module.modules())[1:] if nested else ():
        part.register_forward_pre_hook(depth.enter)
        part.register_forward_hook(depth.leave)


class _Redirect(TorchFunctionMode):
    def __init__(self, calls: Calls, depth: _Depth) -> None:
        super().__init__()
        self.waiting = {reduces: iter(layers) for reduces, layers in calls.items()}
        self.depth = depth

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        kind = "" if self.depth.now else kind_of(func, args, kwargs)
        waiting = self.waiting.get(is_reduction(kind)) if kind else None
        layer = None if waiting is None else next(waiting, _MORE)
        if layer is None:
            return func(*args, **kwargs)
        if isinstance(layer, str):
            raise ValueError(layer.format(kind))
        x: Tensor = args[0] if args else kwargs["input"]
        if isinstance(layer, JointReduction):
            rest = {name: value for name, value in kwargs.items() if name != "input"}
            return layer(x, lambda x: func(x, *args[1:], **rest))
        settings = _settings(kind, args, kwargs)
        if settings == layer.settings:
            return layer(x)
        if layer.placement.method == "traditional":
            return func(*args, **kwargs)
        raise ValueError(
            f"{layer.where}: converted as {layer.settings}, now called with {settings}; convert the network with "
            "an input_size for which it is called so"
        )


_MORE = (
    "{}: called more often than when the network was converted; convert it with an input_size for which it is "
    "called as often"
)
