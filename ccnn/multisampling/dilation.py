"""dilate(): a CNN at full resolution, each stride replaced by dilation of all that follows, in place."""

import copy
from collections.abc import Sequence
from functools import partial
from math import isqrt, prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .comparison import calls_of, compare, relative, small_images, stand_in
from .conversion import conversion_report, convert
from .conversion.meta import ConversionError, InputSize, skeleton
from .conversion.rules import become
from .dilated import (
    Dilated,
    DilatedAdaptiveAvgPool2d,
    DilatedAvgPool2d,
    DilatedConv2d,
    DilatedMaxPool2d,
    DilatedWholeAvgPool2d,
    DilatedWholeMaxPool2d,
    OfCells,
)
from .samplers import Assignment
from .submaps import merge, offsets, to_dense
from .windows import pair, strides

_Model = TypeVar("_Model", bound=nn.Module)
_Chosen = dict[str, tuple[type[Dilated], int]]
"""What a layer becomes, and its spacing."""


def dilate(model: _Model, input_size: InputSize) -> _Model:
    """Replaces every stride of a CNN by dilation of all that follows: no resolution is lost (arXiv 1511.07122).

    The result computes what `convert(model, input_size, "complete")` computes, with as many multiply-adds, on one
    large map instead of S submaps: neighbours of the plain network's map are √S pixels apart in it, and it is
    `to_dense` of the submaps. That is checked before the model is changed: both forms run in float64 with random
    weights, on images as small as the network takes, and their outputs are compared.

    If a size is no multiple of a stride, the dense grid is rounded up to one. Beyond the border are zeros, as in
    complete multisampling, so the two agree at these sizes too. A map that the network returns stays dense.

    The model is changed in place and returned. Parameters and their names stay, so checkpoints load into either
    form; layers keep their attributes, `stride` among them, and get a `spacing`.

    Args:
        model: a CNN whose windows are `Conv2d`, `MaxPool2d` and `AvgPool2d` modules, each called at one
            resolution.
        input_size: (C, H, W) of the images it is meant for. It runs on other sizes too.

    Returns:
        The same model.

    Raises:
        TypeError: if `model` is no module.
        ConversionError: if the dilated network would compute something else, for instance because a function of
            its own mixes neighbours; if it flattens its last map instead of pooling it; or if `convert` raises it.
            The model is then as it was.
        ValueError: for a malformed input size.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1))
        >>> dilate(model, (3, 16, 16))(torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 8, 16, 16])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"dilate: expected a model (an nn.Module), got {model!r}")
    if any(isinstance(module, Dilated) for module in model.modules()):
        raise ConversionError("dilate: the model is dilated already; dilate the plain network")
    if vars(model).get("_conversion") is not None:
        raise ConversionError("dilate: the model is converted already; dilate the plain network")
    try:
        with torch.random.fork_rng(devices=[]):
            chosen, _ = plan_and_check(model, input_size)
    except ConversionError as error:
        raise ConversionError(f"dilate: {str(error).removeprefix('convert: ')}") from error
    _apply(model, chosen)
    return model


_KINDS: dict[type[nn.Module], type[Dilated]] = {
    nn.Conv2d: DilatedConv2d,
    nn.MaxPool2d: DilatedMaxPool2d,
    nn.AvgPool2d: DilatedAvgPool2d,
    nn.AdaptiveAvgPool2d: DilatedAdaptiveAvgPool2d,
}


def plan_and_check(model: nn.Module, input_size: InputSize) -> tuple[_Chosen, float]:
    """What each layer becomes, and how far the outputs of the dilated network are from complete multisampling's.

    Raises:
        ConversionError: as for `dilate`.
    """
    plain = stand_in(model)
    shared = {id(parameter): parameter for parameter in plain.parameters()}
    try:
        complete = convert(copy.deepcopy(plain, shared), input_size, "complete")
    except ConversionError as error:
        # The first sentence says what is wrong; the others, what to pass to convert, which is no help here.
        reason = str(error).removeprefix("convert: ").partition(". ")[0].rstrip(".")
        raise ConversionError(f"the network cannot be compared with complete multisampling: {reason}") from error
    chosen, modes = _plan(model, complete, input_size)
    steps = conversion_report(complete).steps
    x = small_images(plain, input_size, prod(stride for stride, _ in steps))
    _apply(plain, chosen)
    largest = 0.0
    for training in modes:
        try:
            difference, where = compare(
                plain.train(training), complete.train(training), x, partial(_difference, steps)
            )
        except ConversionError as error:
            raise ConversionError(
                f"the dilated network fails: {error}. Pool the last map, and no other"
            ) from error
        if where:
            raise ConversionError(
                f"{where} cannot be dilated: the network's output would differ from complete multisampling's by "
                f"{difference:.1g} of its size, since something there depends on which pixels are neighbours"
            )
        largest = max(largest, difference)
    return chosen, largest


def _plan(model: nn.Module, complete: nn.Module, input_size: InputSize) -> tuple[_Chosen, list[bool]]:
    """What each layer becomes, and its spacing: the root of the submaps it gets in complete multisampling.

    Returns:
        The plan, and the modes in which to compare: training too if it calls more modules (auxiliary heads).
    """
    modules, report = dict(model.named_modules()), conversion_report(complete)
    for layer in report.layers:
        if layer.name not in modules:
            raise ConversionError(
                f"{layer.name!r} is a functional call, which cannot be dilated; write it as a module"
            )
    planned: _Chosen = {}
    modes: list[bool] = []
    called: set[str] = set()
    dry, folded = skeleton(model).double(), skeleton(complete)
    for training in (False, True):
        x = torch.empty(2, *input_size, dtype=torch.float64, device="meta")
        try:
            pairs = list(zip(*(_maps(network.train(training), x) for network in (dry, folded)), strict=True))
        except Exception:
            continue  # Not every network trains without numbers; evaluation was run by `convert` already.
        names = {name for (name, _), _ in pairs}
        modes += [training] if names - called else []
        called |= names
        for (name, alone), (_, several) in pairs:
            kind, spacing = _kind(modules[name], alone), isqrt(several[0] // alone[0])
            if kind is None:
                continue
            before = planned.setdefault(name, (kind, spacing))
            if before != (kind, spacing):
                raise ConversionError(
                    f"{name!r} is called with spacings {before[1]} and {spacing}; give each call its own module"
                )
    chosen = {
        name: (kind, spacing)
        for name, (kind, spacing) in planned.items()
        if _changes(modules[name], kind, spacing)
    }
    for name, (kind, _) in chosen.items():
        reason = None if issubclass(kind, OfCells) else report.traditional.get(name)
        if reason := reason or _refusal(modules[name], kind):
            raise ConversionError(f"{name!r} cannot be dilated: {reason}")
    return chosen, modes


def _maps(model: nn.Module, x: Tensor) -> list[tuple[str, torch.Size]]:
    """Name and input of each module that is called with a feature map."""
    calls = calls_of(model, x, keep=lambda tensor: tensor)
    return [
        (call.name, call.received.shape) for call in calls if call.received is not None and call.received.ndim == 4
    ]


def _kind(module: nn.Module, shape: torch.Size) -> type[Dilated] | None:
    """What a layer becomes if its spacing or stride matters; None for layers without windows."""
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d) and pair(module.kernel_size) == (shape[2], shape[3]):
        return DilatedWholeAvgPool2d if isinstance(module, nn.AvgPool2d) else DilatedWholeMaxPool2d
    if isinstance(module, nn.AdaptiveAvgPool2d) and pair(module.output_size) == (1, 1):
        return None
    return next((kind for base, kind in _KINDS.items() if isinstance(module, base)), None)


def _changes(module: Any, kind: type[Dilated], spacing: int) -> bool:
    """Whether a layer computes something else at a spacing."""
    if issubclass(kind, OfCells):
        return spacing > 1
    if spacing == 1:
        return strides(module) != (1, 1)
    pointwise = pair(module.kernel_size) == (1, 1) and not any(getattr(module, "padding", (0,)))
    return not (isinstance(module, nn.Conv2d) and pointwise and strides(module) == (1, 1))


def _refusal(module: nn.Module, kind: type[Dilated]) -> str | None:
    """Why a layer cannot be dilated, or None."""
    base = next(base for base in _KINDS if isinstance(module, base))
    for method in ("forward", "_conv_forward"):
        if getattr(type(module), method, None) is not getattr(base, method, None):
            return f"{type(module).__qualname__} has a {method} of its own"
    return kind.refuses(module)


def _difference(steps: Sequence[tuple[int, Assignment]], dense: Tensor, folded: Tensor) -> float | None:
    """How far a dense map is from the submaps of the same call, or rows of images from those of their submaps."""
    if dense.shape == folded.shape:
        return relative(dense, folded)
    submaps = folded.shape[0] // dense.shape[0] if dense.ndim and folded.ndim and dense.shape[0] else 0
    if submaps and dense.shape[1:] == folded.shape[1:]:
        return relative(dense, merge(folded, submaps))
    if dense.ndim != 4 or folded.ndim != 4 or not folded.shape[2] * folded.shape[3]:
        return None
    spacing = dense.shape[2] // folded.shape[2]
    if dense.shape[2:] != (folded.shape[2] * spacing, folded.shape[3] * spacing):
        return None
    if submaps == 1:  # the network's output, which is merged in the one and dense in the other
        return relative(F.avg_pool2d(dense, spacing), folded)
    reached = [prod(stride for stride, _ in steps[:count]) for count in range(len(steps) + 1)]
    if spacing not in reached or submaps != spacing**2:
        return None
    return relative(dense, to_dense(folded, offsets(steps[: reached.index(spacing)]), spacing))


def _apply(model: nn.Module, chosen: _Chosen) -> None:
    for name, (kind, spacing) in chosen.items():
        module = model.get_submodule(name)
        become(module, kind)
        module.__dict__["spacing"] = spacing
