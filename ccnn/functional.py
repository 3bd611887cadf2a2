"""Functional poolings: strided `F.max_pool2d` and `F.avg_pool2d` calls within a module's own forward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ccnn.layers import CheckeredAvgPool2d, CheckeredMaxPool2d
from ccnn.multisampling import Multisampling, pair

POOLINGS: dict[Callable[..., Any], str] = {
    torch.max_pool2d: "max_pool2d",
    F.max_pool2d: "max_pool2d",
    F.max_pool2d_with_indices: "max_pool2d",
    F.avg_pool2d: "avg_pool2d",
}


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


def pool_name(owner: str, kind: str, place: int) -> str:
    """How a functional pooling call is called in reports: `Mixed_6a.max_pool2d[0]`."""
    return f"{owner}.{kind}[{place}]".lstrip(".")


_PARAMETERS = {
    "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}
_LAYERS: dict[str, Any] = {"max_pool2d": CheckeredMaxPool2d, "avg_pool2d": CheckeredAvgPool2d}


class FunctionalPools(nn.Module):
    """A rule for modules that pool in their own forward: each call goes to a multisampling layer instead.

    Attributes:
        pools: for each pooling call of the forward, in order, the layer that takes its place, or None. They
            have no parameters and are no submodules, so names and state stay as they are.
    """

    pools: list[Multisampling | None]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with _Redirect(self.pools):
            return super().forward(*args, **kwargs)


class _Redirect(TorchFunctionMode):
    def __init__(self, pools: list[Multisampling | None]) -> None:
        super().__init__()
        self.pools, self.calls = pools, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in POOLINGS:
            pool, self.calls = self.pools[self.calls], self.calls + 1
            if pool is not None:
                x: Tensor = args[0] if args else (kwargs or {})["input"]
                return pool(x)
        return func(*args, **(kwargs or {}))
