"""Functions that subsample or mix a map: what a call of them asks for, in one form for all spellings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..windows import Pair, pair

Function = Callable[..., Any]

STRIDED: dict[Function, str] = {
    F.conv2d: "conv2d",
    torch.conv2d: "conv2d",
    F.max_pool2d: "max_pool2d",
    F.max_pool2d_with_indices: "max_pool2d",
    torch.max_pool2d: "max_pool2d",
    F.avg_pool2d: "avg_pool2d",
    F.lp_pool2d: "lp_pool2d",
}
REDUCING: dict[Function, str] = {
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.adaptive_avg_pool1d: "adaptive_avg_pool1d",
    F.adaptive_max_pool1d: "adaptive_max_pool1d",
    torch.adaptive_avg_pool1d: "adaptive_avg_pool1d",
    F.adaptive_max_pool2d_with_indices: "adaptive_max_pool2d",
    **{
        getattr(owner, name): name
        for name in ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "logsumexp", "median")
        for owner in (torch, Tensor)
    },
    torch.var_mean: "var_mean",
    torch.std_mean: "std_mean",
    torch.linalg.vector_norm: "norm",
}
MIXING: dict[Function, str] = {
    F.group_norm: "group_norm",
    torch.group_norm: "group_norm",
    F.instance_norm: "instance_norm",
    torch.instance_norm: "instance_norm",
    F.dropout2d: "dropout2d",
    torch.feature_dropout: "dropout2d",
    F.layer_norm: "layer_norm",
    torch.layer_norm: "layer_norm",
}
CONTRACTING: dict[Function, str] = {
    torch.matmul: "matmul",
    Tensor.matmul: "matmul",
    Tensor.__matmul__: "matmul",
    torch.bmm: "matmul",
    Tensor.bmm: "matmul",
    torch.einsum: "einsum",
}
VIEWS: dict[Function, str] = {
    Tensor.view: "view",
    Tensor.reshape: "view",
    torch.reshape: "view",
}
KINDS = STRIDED | REDUCING | MIXING | CONTRACTING | VIEWS

_PARAMETERS = {
    "conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "lp_pool2d": ("norm_type", "kernel_size", "stride", "ceil_mode"),
    "adaptive_avg_pool2d": ("output_size",),
    "adaptive_max_pool2d": ("output_size", "return_indices"),
    "adaptive_avg_pool1d": ("output_size",),
    "adaptive_max_pool1d": ("output_size", "return_indices"),
    "norm": ("p", "dim", "keepdim"),
}
_DEFAULTS = {
    "stride": None, "padding": (0, 0), "dilation": (1, 1), "groups": 1, "ceil_mode": False,
    "return_indices": False, "count_include_pad": True,
}  # fmt: skip
_PAIRS = ("kernel_size", "stride", "padding", "dilation", "output_size")
_COMBINED = {
    "mean": "mean", "sum": "mean", "avg_pool2d": "mean",
    "adaptive_avg_pool2d": "mean", "adaptive_avg_pool1d": "mean",
    "amax": "max", "max": "max", "max_pool2d": "max", "adaptive_max_pool2d": "max", "adaptive_max_pool1d": "max",
    "amin": "min", "min": "min",
    "var": "stack", "std": "stack", "logsumexp": "stack", "var_mean": "stack", "std_mean": "stack",
    "matmul": "mean", "einsum": "mean",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """What a call of a function asks for, all but its tensors.

    Attributes:
        kind: the function's name, one for all its spellings.
        settings: its arguments by name, sizes as pairs.
    """

    kind: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __getitem__(self, name: str) -> Any:
        return dict(self.settings).get(name)

    @property
    def strides(self) -> Pair:
        """Of a convolution or pooling; (1, 1) for everything else."""
        if self.kind not in STRIDED.values():
            return 1, 1
        return pair(self["stride"] or self["kernel_size"])

    @property
    def window(self) -> Pair:
        """The size of a convolution's or pooling's window."""
        return pair(self["kernel_size"] or 1)

    @property
    def combined(self) -> str:
        """How the results of a map's submaps make one; `stack` if all are reduced at once, "" for no such way."""
        if self.kind == "norm":
            return "rms" if self["p"] in (None, 2, 2.0, "fro") else ""
        return _COMBINED.get(self.kind, "")

    def covers(self, size: Pair) -> bool:
        """Whether a pooling has one window, the whole map."""
        if self.kind not in ("max_pool2d", "avg_pool2d", "lp_pool2d"):
            return False
        padding, kernel = pair(self["padding"] or 0), self.window
        return max(size) > 1 and all(
            kernel[axis] >= size[axis] and size[axis] + 2 * padding[axis] - kernel[axis] < self.strides[axis]
            for axis in (0, 1)
        )

    def reduces(self, size: Pair) -> bool:
        """Whether it is a reduction of the whole map.

        A window of 2 or 3 with a stride of 2 on such a small map is the usual step of subsampling, as the last one
        of the paper's VGG.
        """
        usual = self.strides == (2, 2) and max(self.window) <= 3
        return bool(self.combined) and self.covers(size) and not usual

    @property
    def whole(self) -> "Call":
        """The same reduction of maps of any size."""
        return Call(self.kind, (("whole", True),))

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings)


def described(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """What a call asks for; None for functions of no concern."""
    kind = KINDS.get(function)
    if kind is None or first(args, kwargs) is None:
        return None
    if function in VIEWS:
        sizes = sum(len(size) if isinstance(size, tuple | list) else 1 for size in (*args[1:], *kwargs.values()))
        return Call(kind, (("dims", sizes), ("ndim", first(args, kwargs).ndim)))
    if function in MIXING or function in CONTRACTING:
        return Call(kind, (("ndim", first(args, kwargs).ndim),))
    values = dict(zip(_PARAMETERS.get(kind, ()), args[1:], strict=False)) | {
        name: value for name, value in kwargs.items() if name != "input"
    }
    if function in REDUCING and not kind.startswith("adaptive"):
        dims = reduced(function, kind, args, kwargs)
        return Call(
            kind, (("dims", dims), ("ndim", first(args, kwargs).ndim), ("p", values.get("p", kwargs.get("ord"))))
        )
    if kind == "conv2d":
        values["kernel_size"] = tuple(values.pop("weight").shape[2:])
        values.setdefault("stride", 1)
        values.pop("bias", None)
    named = {name: _plain(name, value) for name, value in values.items() if value is not None and value != []}
    named.setdefault("stride", named.get("kernel_size"))
    return Call(kind, tuple((name, named[name]) for name in sorted(named) if named[name] != _DEFAULTS.get(name)))


def _plain(name: str, value: Any) -> Any:
    if name in _PAIRS and not isinstance(value, str):
        return tuple(value) if isinstance(value, tuple | list) and None in value else pair(value)
    return tuple(value) if isinstance(value, list) else value


def of_layer(layer: nn.Module) -> Call | None:
    """What a pooling layer asks for; None for other layers."""
    kind = next((name for kind, name in _LAYERS.items() if isinstance(layer, kind)), "")
    if not kind:
        return None
    names = [name for name in _PARAMETERS[kind] if getattr(layer, name, None) is not None]
    settings = {name: pair(getattr(layer, name)) if name in _PAIRS else getattr(layer, name) for name in names}
    return Call(kind, tuple(sorted(settings.items())))


_LAYERS = {nn.MaxPool2d: "max_pool2d", nn.AvgPool2d: "avg_pool2d"}


def first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call's first tensor, the map."""
    if args and isinstance(args[0], Tensor):
        return args[0]
    for value in (*args, *kwargs.values()):
        for leaf in value if isinstance(value, tuple | list) else (value,):
            if isinstance(leaf, Tensor):
                return leaf
    return None


def reduced(
    function: Function, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[int, ...] | None:
    """The dimensions that a call reduces, None where that cannot be told."""
    x = first(args, kwargs)
    if kind.startswith("adaptive"):
        size = kwargs.get("output_size", args[1] if len(args) > 1 else None)
        size = tuple(size) if isinstance(size, list) else size
        one = size in ((1, 1), (1,), 1)
        return tuple(range(x.ndim - int(kind[-2]), x.ndim)) if one else None
    position = 2 if kind == "norm" else 1
    dim = kwargs.get("dim", kwargs.get("axis", args[position] if len(args) > position else None))
    if isinstance(dim, Tensor):
        return None
    if dim is None:
        return tuple(range(x.ndim))
    return tuple(axis % x.ndim for axis in (dim if isinstance(dim, tuple | list) else (dim,)))


ALONG = (
    "softmax", "log_softmax", "softmin", "gumbel_softmax", "special_softmax", "special_log_softmax",
    "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "sort", "topk", "roll", "flip", "diff",
)  # fmt: skip
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")
POOLINGS = ("max_pool2d", "avg_pool2d")
