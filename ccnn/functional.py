"""Functional calls within a module's own forward that need to know of submaps: poolings and reductions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ccnn.joint import JointReduction
from ccnn.layers import CheckeredAvgPool2d, CheckeredMaxPool2d
from ccnn.multisampling import Multisampling, pair

Call = Multisampling | JointReduction
"""What takes the place of a functional call."""

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


def pooling(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Multisampling | None:
    """The layer that pools as a call does; None for a call without a stride that can be multisampled."""
    values = dict(zip(_PARAMETERS[name], args[1:], strict=False)) | {
        k: v for k, v in kwargs.items() if k != "input"
    }
    values = {key: value for key, value in values.items() if value is not None and value != []}
    stride = pair(values.get("stride", values["kernel_size"]))
    if stride == (1, 1) or stride[0] != stride[1] or values.pop("return_indices", False):
        return None
    sizes = {k: pair(v) for k, v in values.items() if k in ("kernel_size", "stride", "padding", "dilation")}
    rest = {k: v for k, v in values.items() if k not in sizes}
    return _LAYERS[name](**sizes, **rest)


def call_name(owner: str, kind: str, place: int) -> str:
    """How a functional call is called in reports: `Mixed_6a.max_pool2d[0]`."""
    return f"{owner}.{kind}[{place}]".lstrip(".")


_PARAMETERS = {
    "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}
_LAYERS: dict[str, Any] = {"max_pool2d": CheckeredMaxPool2d, "avg_pool2d": CheckeredAvgPool2d}


class FunctionalCalls(nn.Module):
    """A rule for modules that pool or reduce maps in their own forward: each call goes to a layer instead.

    Attributes:
        calls: for the poolings and for the reductions (True) of the forward, in order, the layer that takes
            each call's place, or None. They have no parameters and are no submodules, so names and state stay
            as they are.
    """

    calls: dict[bool, list[Call | None]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with _Redirect(self.calls):
            return super().forward(*args, **kwargs)


class _Redirect(TorchFunctionMode):
    def __init__(self, calls: dict[bool, list[Call | None]]) -> None:
        super().__init__()
        self.waiting = {reduces: iter(layers) for reduces, layers in calls.items()}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        kind = kind_of(func, args, kwargs)
        layer = next(self.waiting[is_reduction(kind)]) if kind and is_reduction(kind) in self.waiting else None
        if layer is None:
            return func(*args, **kwargs)
        x: Tensor = args[0] if args else kwargs["input"]
        rest = {name: value for name, value in kwargs.items() if name != "input"}
        return layer(x, lambda x: func(x, *args[1:], **rest)) if isinstance(layer, JointReduction) else layer(x)
