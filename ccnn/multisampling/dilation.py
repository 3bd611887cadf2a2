"""dilate(): a CNN at full resolution, each stride replaced by dilation of all that follows, in place."""

import copy
from collections.abc import Callable
from math import isqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .conversion import conversion_report, convert
from .conversion.functional import is_reduction, kind_of
from .conversion.meta import ConversionError, InputSize, Watch, gist, outputs, skeleton
from .conversion.rules import become
from .conversion.survey import Survey, survey
from .dilated import (
    Dilated,
    DilatedAdaptiveAvgPool2d,
    DilatedAvgPool2d,
    DilatedConv2d,
    DilatedMaxPool2d,
    DilatedWholeAvgPool2d,
    OfCells,
)
from .windows import pair, strides

_Model = TypeVar("_Model", bound=nn.Module)


def dilate(model: _Model, input_size: InputSize) -> _Model:
    """Replaces every stride of a CNN by dilation of all that follows: no resolution is lost (arXiv 1511.07122).

    The twin of `convert(model, input_size, "complete")`: what that keeps as S submaps is one dense map here, in
    which neighbouring samples of the plain network are √S pixels apart. It computes the same (each dense map is
    `to_dense` of the submaps, and the outputs are equal) with as many multiply-adds, on one large tensor.

    Where a size is no multiple of a stride, the dense grid is rounded up to one, and beyond the border are zeros
    (for max pooling nothing, or zeros if a window has nothing else): as in complete multisampling, so the twins
    agree at these sizes too. A map that the network returns is returned dense, not averaged over submaps.

    The model is changed in place and returned. Its parameters and their names stay, so checkpoints load into
    either form; layers keep their attributes, `stride` among them, and have a `spacing` besides.

    Args:
        model: a CNN whose windows are `Conv2d`, `MaxPool2d` and `AvgPool2d` modules, each called at one
            resolution.
        input_size: (C, H, W) of the images it is meant for. It runs on other sizes too.

    Returns:
        The same model.

    Raises:
        ConversionError: if something else subsamples or slides a window, if the network flattens its last map
            rather than pooling it, or for what `convert` refuses. The model is then as it was.
        ValueError: for a malformed input size.

    Example:
        >>> model = ccnn.dilate(torchvision.models.resnet50(weights="DEFAULT"), (3, 224, 224))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"dilate: expected a model (an nn.Module), got {model!r}")
    for done, what in ((vars(model).get("_conversion"), "converted"), (_dilated(model), "dilated")):
        if done is not None:
            raise ConversionError(f"dilate: the model is {what} already; dilate the plain network")
    try:
        with torch.random.fork_rng(devices=[]):
            spacings = _plan(model, input_size)
    except ConversionError as error:
        raise ConversionError(f"dilate: {str(error).removeprefix('convert: ')}") from error
    _apply(model, spacings)
    return model


_KINDS: dict[type[nn.Module], type[Dilated]] = {
    nn.Conv2d: DilatedConv2d,
    nn.MaxPool2d: DilatedMaxPool2d,
    nn.AvgPool2d: DilatedAvgPool2d,
    nn.AdaptiveAvgPool2d: DilatedAdaptiveAvgPool2d,
}

_SLIDING: dict[Callable[..., Any], str] = {
    F.conv2d: "conv2d",
    F.conv_transpose2d: "conv_transpose2d",
    F.max_pool2d: "max_pool2d",
    F.max_pool2d_with_indices: "max_pool2d",
    torch.max_pool2d: "max_pool2d",
    F.avg_pool2d: "avg_pool2d",
    F.lp_pool2d: "lp_pool2d",
    F.fractional_max_pool2d: "fractional_max_pool2d",
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.unfold: "unfold",
    F.fold: "fold",
    F.pad: "pad",
    F.interpolate: "interpolate",
    F.grid_sample: "grid_sample",
    F.pixel_shuffle: "pixel_shuffle",
    F.pixel_unshuffle: "pixel_unshuffle",
    Tensor.unfold: "unfold",
}
"""What depends on which samples are neighbours, and so on the spacing."""

_HARMLESS = (nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout2d)
"""What may follow a network's last pooling."""

_Spacings = dict[str, tuple[type[Dilated], int]]


def _plan(model: nn.Module, input_size: InputSize) -> _Spacings:
    """What each layer becomes, and its spacing: the root of the submaps it gets in complete multisampling."""
    dry = skeleton(model)
    converted = convert(copy.deepcopy(dry), input_size, "complete")
    plain = survey(dry, input_size)
    modules = dict(dry.named_modules())
    report = conversion_report(converted)
    for layer in report.layers:
        if layer.name not in modules:
            raise ConversionError(
                f"{layer.name!r} is a functional call, which cannot be dilated; write it as a module"
            )
        if _kind(layer.name, modules, plain) is None:
            raise ConversionError(f"{layer.name!r} cannot be dilated: {layer.kind} has no dilated form")
    for name, why in report.traditional.items():
        if _kind(name, modules, plain) is not DilatedWholeAvgPool2d and not isinstance(
            modules.get(name), _HARMLESS
        ):
            raise ConversionError(f"{name!r} cannot be dilated: {why}")
    seen = _Seen(converted, modules, plain)
    for training in plain.modes:
        seen.run(training, input_size)
    chosen: _Spacings = {}
    for name, spacings in seen.spacings.items():
        if len(spacings) > 1:
            raise ConversionError(
                f"{name!r} is called with spacings {' and '.join(map(str, sorted(spacings)))}; give each call a "
                "module of its own"
            )
        (spacing,), module, kind = spacings, modules[name], _kind(name, modules, plain)
        if kind is None or not _changes(module, spacing):
            continue
        base = next(base for base in _KINDS if isinstance(module, base))
        own = [method for method in ("forward", "_conv_forward") if _differs(type(module), base, method)]
        if reason := f"{type(module).__qualname__} has a {own[0]} of its own" if own else kind.refuses(module):
            raise ConversionError(f"{name!r} cannot be dilated: {reason}")
        chosen[name] = kind, spacing
    _try(dry, chosen, input_size)
    return chosen


def _kind(name: str, modules: dict[str, nn.Module], plain: Survey) -> type[Dilated] | None:
    """What a layer becomes if its spacing or stride matters; None for layers without windows."""
    module = modules.get(name)
    if isinstance(module, nn.AvgPool2d) and name in plain.whole:
        return DilatedWholeAvgPool2d
    if isinstance(module, nn.AdaptiveAvgPool2d) and pair(module.output_size) == (1, 1):
        return None
    return next((kind for base, kind in _KINDS.items() if isinstance(module, base)), None)


def _changes(module: Any, spacing: int) -> bool:
    """Whether a layer computes something else at a spacing."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return spacing > 1
    if spacing == 1:
        return strides(module) != (1, 1)
    pointwise = pair(module.kernel_size) == (1, 1) and not any(getattr(module, "padding", (0,)))
    return not (isinstance(module, nn.Conv2d) and pointwise and strides(module) == (1, 1))


def _differs(kind: type, base: type, method: str) -> bool:
    return getattr(kind, method, None) is not getattr(base, method, None)


class _Seen(TorchFunctionMode):
    """Watches the complete CCNN, whose submaps tell the spacing at each layer, and refuses other windows."""

    def __init__(self, converted: nn.Module, modules: dict[str, nn.Module], plain: Survey) -> None:
        super().__init__()
        self.converted, self.modules, self.plain = converted, modules, plain
        self.spacings: dict[str, set[int]] = {}
        self.times: dict[str, int] = {}
        self.last = ""
        self.watch = Watch(converted, self._call)

    def run(self, training: bool, input_size: InputSize) -> None:
        self.times.clear()
        self.watch.active.clear()
        self.last = ""
        with self:
            outputs(self.converted.train(training), input_size)

    def _call(self, name: str, module: nn.Module, x: Tensor) -> None:
        call = self.times.get(name, 0)
        self.times[name] = call + 1
        submaps = self.plain.submaps(self.converted.training, name, call, x.shape[0])
        if x.ndim != 4:
            return
        spacing = isqrt(submaps)
        plain, leaf = self.modules[name], not any(module.children())
        if self.last and spacing > 1 and leaf and not isinstance(plain, _HARMLESS):
            raise ConversionError(
                f"{name!r} comes after {self.last!r}, a pooling of the whole map, which a dilated network "
                "can only have at its end"
            )
        kind = _kind(name, self.modules, self.plain)
        if kind is not None:
            self.spacings.setdefault(name, set()).add(spacing)
        if kind is not None and issubclass(kind, OfCells) and spacing > 1:
            self.last = name

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = self.watch.active[-1] if self.watch.active else ""
        if _kind(name, self.modules, self.plain) is None and (what := _slides(func, args, kwargs)):
            call = self.times.get(name, 1) - 1
            x = args[0] if args else kwargs["input"]
            if self.plain.submaps(self.converted.training, name, call, x.shape[0]) > 1:
                where = repr(name) if name else "the model's own forward"
                raise ConversionError(
                    f"{where} ({type(self.modules[name]).__name__}) cannot be dilated: {what} on a feature map"
                )
        return func(*args, **kwargs)


def _slides(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What a call does that depends on which samples are neighbours; empty if nothing."""
    x = args[0] if args else kwargs.get("input")
    if not isinstance(x, Tensor) or x.ndim != 4 or min(x.shape[2:]) <= 1:
        return ""
    if func is Tensor.__getitem__ and isinstance(args[1], tuple):
        parts = [item for item in args[1][2:] if isinstance(item, slice) and item != slice(None)]
        return "a slice of rows or columns" if parts else ""
    if is_reduction(kind_of(func, args, kwargs)):
        return ""
    return _SLIDING.get(func, "")


def _try(dry: nn.Module, chosen: _Spacings, input_size: InputSize) -> None:
    """Runs the dilated skeleton."""
    plain = outputs(dry.eval(), input_size)
    _apply(dry, chosen)
    watch = Watch(dry, lambda name, module, x: None)
    try:
        dense = outputs(dry, input_size)
    except Exception as error:
        where = next((repr(name) for name in reversed(watch.active) if name), "the model's own forward")
        raise ConversionError(
            f"the dilated network breaks in {where}: {gist(error)}. Networks that flatten their last map have a "
            "classifier for its size alone; pool it before"
        ) from error
    for before, after in zip(plain, dense, strict=True):
        if before.shape[:2] != after.shape[:2] or before.ndim != after.ndim:
            raise ConversionError(
                f"the dilated network returns {tuple(after.shape)}, the plain one {tuple(before.shape)}"
            )


def _apply(model: nn.Module, chosen: _Spacings) -> None:
    for name, (kind, spacing) in chosen.items():
        module = model.get_submodule(name)
        become(module, kind)
        module.__dict__["spacing"] = spacing


def _dilated(model: nn.Module) -> nn.Module | None:
    return next((module for module in model.modules() if isinstance(module, Dilated)), None)
