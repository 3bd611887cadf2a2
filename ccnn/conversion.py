"""convert(): turns the strided layers of a CNN into multisampling layers, in place."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ccnn.dry_run import ConversionError, Plan, plan
from ccnn.joint import Joint
from ccnn.layers import Multisampling, strides
from ccnn.samplers import Sampling, resolve
from ccnn.submaps import merge

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
        sampling: name of the sampling method.
        input_size: (C, H, W) of the dry run.
        layers: the multisampling layers, in the order of the network.
        joint: layers that see all submaps of a feature map at once.
        traditional: layers that stayed as they were, and why.
        merge: the module at whose input the submaps are averaged; `output` for the network's output, None
            where a layer across submaps has left one only.
        submaps: the number of submaps that are merged.
    """

    sampling: str
    input_size: tuple[int, int, int]
    layers: tuple[ConvertedLayer, ...]
    joint: tuple[str, ...] = ()
    traditional: dict[str, str] = field(default_factory=dict)
    merge: str | None = None
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
        if self.merge is not None:
            place = "the network's output" if self.merge == "output" else f"the input of {self.merge!r}"
            lines.append(f"  {self.submaps} submaps merged at {place}")
        return "\n".join(lines)


class _MergeInput:
    """A forward pre-hook of the head: averages the submaps of its first argument."""

    def __init__(self, submaps: int) -> None:
        self.submaps = submaps

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (merge(args[0], self.submaps), *args[1:])


class _MergeOutputs:
    """A forward hook of the whole network: averages the submaps of those outputs that still have some."""

    def __init__(self, submaps: dict[bool, dict[int, int]]) -> None:
        self.submaps = submaps

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        folded = self.submaps.get(module.training, {})
        leaves, structure = pytree.tree_flatten(output)
        place = -1
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                place += 1
                if place in folded:
                    leaves[i] = merge(leaf, folded[place])
        return pytree.tree_unflatten(leaves, structure)


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
    """
    match input_size:
        case int(channels), int(height), int(width) if min(channels, height, width) > 0:
            size = (channels, height, width)
        case _:
            raise ValueError(f"input_size: expected (channels, height, width), got {input_size!r}")
    chosen = resolve(sampling)
    if (done := vars(model).get("_conversion")) is not None:
        if done.sampling == chosen.name:
            return model
        raise ConversionError(
            f"convert: the model is converted already, with sampling={done.sampling!r}; "
            f"convert a plain network to get sampling={chosen.name!r}"
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
    converted, joint = [], []
    modules = dict(model.named_modules())
    for name, dry in planned.layers.items():
        visits = planned.visits.get(name, [])
        module, kind = modules[name], type(modules[name]).__name__
        if isinstance(dry, Joint):
            if not visits or visits[0].submaps == 1:
                continue
            module.__class__ = type(dry)
            module.submaps = dry.submaps
            joint.append(name)
        elif isinstance(dry, Multisampling):
            if not visits:
                planned.traditional[name] = "never called in the dry run"
                continue
            module.__class__ = type(dry)
            assert isinstance(module, Multisampling)
            module.set_submaps(dry.submaps, dry.samplers, dry.method)
            stride, _ = strides(dry)
            converted += [
                ConvertedLayer(name, kind, stride, (visit.submaps, visit.submaps_out), visit.size_out)
                for visit in visits
                if stride > 1
            ]
    merged_at, submaps = planned.head, planned.head_submaps
    if planned.head is not None:
        model.get_submodule(planned.head).register_forward_pre_hook(_MergeInput(submaps), prepend=True)
    if any(planned.outputs.values()):
        model.register_forward_hook(_MergeOutputs(planned.outputs), prepend=True)
        if merged_at is None:
            merged_at, submaps = "output", max(planned.outputs[False].values(), default=1)
    vars(model)["_conversion"] = ConversionReport(
        sampling.name, input_size, tuple(converted), tuple(joint), planned.traditional, merged_at, submaps
    )


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
