"""convert(): turns the strided layers of a CNN into multisampling layers, in place."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import nn

from ..joint import Joint
from ..samplers import Assignment, Sampling, resolve
from ..windows import strides
from .functional import Call, FunctionalCalls, redirect
from .merge import CountImages, MergeOutputs, MergeReplaced
from .meta import ConversionError, checked
from .plan import Plan, plan
from .rules import become

__all__ = ["ConversionError", "ConversionReport", "ConvertedLayer", "conversion_report", "convert"]

_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True)
class ConvertedLayer:
    """One layer that keeps several positions of each window.

    Attributes:
        name: of the module in the network.
        kind: the class it had before.
        stride: side of the window.
        submaps: submaps it receives and yields.
        size: height and width of each submap it yields, in pixels, for the report's input size.
    """

    name: str
    kind: str
    stride: int
    submaps: tuple[int, int]
    size: tuple[int, ...]


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did to a network; `str()` tells it in a few lines.

    Attributes:
        sampling: the sampling method.
        input_size: (C, H, W) of the dry run.
        layers: the multisampling layers, in the order of the network.
        steps: stride and assignment of each level, as `ccnn.multisampling.submaps.offsets` takes them.
        joint: layers that see all submaps of a feature map at once.
        traditional: layers that stayed as they were, and why.
        merge: the modules at whose input the submaps are averaged, and `output` for the network's outputs;
            empty where a layer across submaps has left one only.
        submaps: the number of submaps that are merged.
    """

    sampling: Sampling
    input_size: tuple[int, int, int]
    layers: tuple[ConvertedLayer, ...]
    steps: tuple[tuple[int, Assignment], ...] = ()
    joint: tuple[str, ...] = ()
    traditional: dict[str, str] = field(default_factory=dict)
    merge: tuple[str, ...] = ()
    submaps: int = 1

    def __str__(self) -> str:
        count = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        lines = [f"{count} converted, sampling={self.sampling}, input {_size(self.input_size)}"]
        levels: dict[tuple[Any, ...], list[str]] = {}
        for layer in self.layers:
            levels.setdefault((*layer.submaps, layer.size, layer.stride), []).append(layer.name or "(the model)")
        lines += [
            f"  submaps {before} → {after}, each {_size(size)}, stride {stride}: {', '.join(names)}"
            for (before, after, size, stride), names in levels.items()
        ]
        if self.joint:
            lines.append(f"  see all submaps at once: {', '.join(self.joint)}")
        lines += [f"  left traditional: {name} ({why})" for name, why in self.traditional.items()]
        for name in self.merge:
            place = "the network's output" if name == "output" else f"the input of {name!r}"
            lines.append(f"  {self.submaps} submaps merged at {place}")
        return "\n".join(lines)


def convert(model: _Model, input_size: tuple[int, int, int], sampling: str | Sampling = "naive") -> _Model:
    """Turns a CNN into a CCNN: its strided layers keep several positions of each window (arXiv 1805.10766).

    The model is changed in place and returned. Its parameters, their names, ties, hooks, dtype, device and
    training flag stay as they are, so checkpoints load into either form. Feature maps become submaps in the
    batch, (S·N, C, H, W), and are averaged at the input of the classifier; the result is (N, …) as before.

    Args:
        model: any CNN; its forward is not edited. Converting it again with the same method changes nothing.
        input_size: (C, H, W) of the images it is meant for. It runs on other sizes too.
        sampling: name of a sampling method (`naive`, `lattice`) or a `Sampling`.

    Returns:
        The same model. `conversion_report(model)` tells what was done.

    Raises:
        ConversionError: if the network does not run on `input_size`, has nothing to convert, or its branches
            disagree in submaps once converted. The model is then as it was.
        ValueError: for an unknown sampling method or a malformed input size.

    Example:
        >>> model = ccnn.convert(torchvision.models.resnet50(weights="DEFAULT"), (3, 224, 224), "lattice")

    A forward that splits or joins the images of its batch (`x.chunk(2)`) cannot be followed: submaps of different
    images would be averaged. Replace layers before the conversion; the classifier may be replaced later, too.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: expected a model (an nn.Module), got {kind} {str(model)[:80]}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise TypeError(f"convert: expected a plain model, got {kind}; convert the model first, then compile it")
    size = checked(input_size)
    chosen = resolve(sampling)
    if (done := vars(model).get("_conversion")) is not None:
        if done.sampling == chosen:
            return model
        raise ConversionError(
            f"convert: the model is converted already, with sampling='{done.sampling}'; convert a "
            f"plain network to get '{chosen}'"
        )
    _apply(model, plan(model, size, chosen), chosen, size)
    return model


def conversion_report(model: nn.Module) -> ConversionReport:
    """What `convert` did to the model.

    Raises:
        ValueError: if the model was not converted.
    """
    report = getattr(model, "_conversion", None)
    if not isinstance(report, ConversionReport):
        raise ValueError("conversion_report: this model was not converted; call ccnn.convert(model, …) first")
    return report


def _apply(model: nn.Module, planned: Plan, sampling: Sampling, input_size: tuple[int, int, int]) -> None:
    modules = dict(model.named_modules())
    original = {name: type(module).__name__ for name, module in modules.items()}
    changing = {} if sampling.name == "traditional" else modules  # that is the plain network to the last bit
    for owner, calls in planned.calls.items():
        if owner in changing and any(map(any, calls.values())):
            become(modules[owner], FunctionalCalls)
            kept = {reduces: list(map(_without_hooks, layers)) for reduces, layers in calls.items()}
            redirect(modules[owner], kept, owner in planned.nested)
    converted, joint = [], []
    for name, dry in planned.layers.items():
        if name in changing:
            become(modules[name], type(dry))
            modules[name].placement = dry.placement
        visits = planned.visits.get(name, [])
        if isinstance(dry, Joint):
            joint.append(name)
            continue
        if visits and name in changing:
            modules[name].placement = replace(dry.placement, submaps=min(visit.submaps for visit in visits))
        kind = original.get(name, "functional")
        converted += [
            ConvertedLayer(name, kind, strides(dry)[0], (visit.submaps, visit.submaps_out), visit.size_out)
            for visit in visits
        ]
    for name, hook in planned.heads.items():
        modules[name].register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
    submaps = max((hook.submaps for hook in planned.heads.values()), default=1)
    if any(planned.outputs.values()):
        model.register_forward_hook(MergeOutputs(planned.outputs), prepend=True)
        submaps = max((submaps, *planned.outputs[False].values()))
    elif planned.heads:
        head, hook = list(planned.heads.items())[-1]
        model.register_forward_pre_hook(MergeReplaced(head, hook), prepend=True)
        if planned.one_row_each:
            model.register_forward_hook(CountImages())
    places = (*planned.heads, *(("output",) if any(planned.outputs.values()) else ()))
    if planned.draws is not None:
        planned.draws.attach(model)
    model.__dict__["_conversion"] = ConversionReport(
        sampling,
        input_size,
        tuple(converted),
        planned.steps(max(planned.levels, key=len, default=())),
        tuple(joint),
        planned.traditional,
        places,
        submaps,
    )


def _without_hooks(layer: Call | None) -> Call | None:
    if layer is not None:
        layer._forward_pre_hooks.clear()
        layer._forward_hooks.clear()
    return layer


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
