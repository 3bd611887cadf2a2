"""The dry run: a pass on the meta device that tells what every layer of a converted network receives."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ccnn.joint import Joint
from ccnn.layers import Multisampling, strides
from ccnn.rules import JOINT, MULTISAMPLING
from ccnn.samplers import Assignment, Sampling
from ccnn.submaps import merge

InputSize = tuple[int, int, int]

_IMAGES = 3  # With one image, branches that disagree in submaps would broadcast silently.


class ConversionError(ValueError):
    """The model cannot be converted; it is left as it was."""


@dataclass(frozen=True)
class Visit:
    """What a converted layer was seen to do: the submaps it receives and yields, its output's (H, W)."""

    submaps: int
    submaps_out: int
    size_out: tuple[int, ...]


@dataclass
class Plan:
    """What conversion changes, by layer name."""

    layers: dict[str, nn.Module] = field(default_factory=dict)
    """The layers that change, as converted, on the meta device."""
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    """What those of them that run were seen to do; more than one entry for a module called at several levels."""
    traditional: dict[str, str] = field(default_factory=dict)
    """Layers that stay as they are though one might expect otherwise, and why."""
    head: str | None = None
    """The module at whose input the submaps are merged, if the network has such a one."""
    head_submaps: int = 1
    outputs: dict[bool, dict[int, int]] = field(default_factory=dict)
    """In training and in evaluation: submaps of those outputs of the network that still have some."""


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device: everything but the numbers."""
    memo: dict[int, Any] = {}
    loose = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *loose):
        if isinstance(tensor, nn.UninitializedParameter):
            raise ConversionError("convert: the model has lazy layers; run it once on a batch, then convert it")
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def outputs(model: nn.Module, input_size: InputSize, images: int = _IMAGES) -> list[Tensor]:
    """Runs a skeleton on blank images of `input_size` (C, H, W) and returns all tensors of its output."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    with torch.no_grad(), torch.device("meta"):
        leaves = pytree.tree_leaves(model(torch.empty(images, *input_size, dtype=dtype)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def plan(model: nn.Module, input_size: InputSize, sampling: Sampling) -> Plan:
    """Plans the conversion of a model, which is not touched.

    Raises:
        ConversionError: if the network does not run, has nothing to convert, or falls apart when converted.
    """
    dry = skeleton(model)
    modes = _modes_that_run(dry, input_size)
    apart: dict[str, str] = {}
    while True:
        trace = _Trace(copy.deepcopy(dry), input_size, sampling, apart)
        try:
            return trace.plan(modes)
        except _CalledApartError as called:
            # A shared dropout or pooling that sees several levels: plain, it works on each submap alone.
            apart[called.name] = "one module called at several levels: it treats each submap on its own"


def _modes_that_run(dry: nn.Module, input_size: InputSize) -> list[bool]:
    """Evaluation, and training where the plain network runs in it too: auxiliary heads live there."""
    try:
        outputs(dry.eval(), input_size)
    except Exception as error:
        raise ConversionError(
            f"convert: the plain network does not run on images of input_size={input_size}: {_gist(error)}"
        ) from error
    try:
        outputs(dry.train(), input_size)
    except Exception:
        return [False]
    return [False, True]


class _CalledApartError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


class _Trace:
    """Runs a skeleton with its layers replaced and watches every call."""

    def __init__(self, dry: nn.Module, input_size: InputSize, sampling: Sampling, apart: dict[str, str]) -> None:
        self.dry, self.input_size, self.sampling = dry, input_size, sampling
        self.result = Plan(traditional=dict(apart))
        self.paths: dict[int, tuple[int, ...]] = {1: ()}  # number of submaps → strides that led to it
        self.calls: list[tuple[str, int, int]] = []  # name, dimensions and submaps of the input
        self.active: list[str] = []
        for name, module in list(dry.named_modules()):
            if name not in apart:
                self._replace(name, module)
        for name, module in dry.named_modules():
            module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
            module.register_forward_hook(self._leave(name))

    def plan(self, modes: list[bool]) -> Plan:
        result = self.result
        self._run(training=False)
        if not any(visit.submaps_out > visit.submaps for visits in result.visits.values() for visit in visits):
            raise ConversionError(self._nothing())
        result.outputs = self._place_merge(modes)
        return result

    def _place_merge(self, modes: list[bool]) -> dict[bool, dict[int, int]]:
        """Merges at the first module that is called with a folded vector after the last folded map.

        Where the network falls apart with that one (squeeze-and-excitation written with linear layers calls
        such modules too), at the next.
        """
        last_map = max(
            (i for i, (_, ndim, submaps) in enumerate(self.calls) if ndim == 4 and submaps > 1), default=-1
        )
        heads = {name: s for name, ndim, s in reversed(self.calls[last_map + 1 :]) if ndim == 2 and s > 1}
        failure: ConversionError | None = None
        for name, submaps in reversed(heads.items()):
            merging = self.dry.get_submodule(name).register_forward_pre_hook(
                lambda module, args, submaps=submaps: (merge(args[0], submaps), *args[1:]), prepend=True
            )
            self.result.visits = {}
            try:
                merged = {training: self._merged_outputs(training) for training in modes}
            except ConversionError as error:
                failure = failure or error
                merging.remove()
            else:
                self.result.head, self.result.head_submaps = name, submaps
                return merged
        if failure is not None:
            raise failure
        return {training: self._merged_outputs(training) for training in modes}

    def _replace(self, name: str, module: nn.Module) -> None:
        result, kind = self.result, type(module)
        if isinstance(module, Multisampling):
            if module.kept > 1:
                raise ConversionError(
                    f"convert: {name or 'the model'!r} is a multisampling layer already; convert the plain network"
                )
            result.layers[name] = module
        elif kind in JOINT:
            if JOINT[kind].applies(module):
                module.__class__ = JOINT[kind]
                result.layers[name] = module
        elif isinstance(module, tuple(MULTISAMPLING)) and strides(module) != (1, 1):
            if kind not in MULTISAMPLING:
                result.traditional[name] = f"{kind.__name__} is a subclass that may compute something else"
            elif refusal := MULTISAMPLING[kind].refuses(module):
                result.traditional[name] = refusal
            else:
                module.__class__ = MULTISAMPLING[kind]
                result.layers[name] = module

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.active.append(name)
            x = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.ndim >= 2), None)
            if x is None:
                return
            submaps = x.shape[0] // _IMAGES
            self.calls.append((name, x.ndim, submaps))
            if name in self.result.layers:
                self._arrive(name, module, submaps)

        return hook

    def _arrive(self, name: str, module: nn.Module, submaps: int) -> None:
        """Tells a layer what it receives, before it runs."""
        seen = {visit.submaps for visit in self.result.visits.get(name, [])} | {submaps}
        if isinstance(module, Joint):
            if len(seen) > 1:
                raise _CalledApartError(name)
            module.submaps = submaps
        elif isinstance(module, Multisampling):
            samplers = self._samplers(module, submaps)
            counts = len(samplers) > 1 or getattr(module, "depth", 1) > 1
            if counts and len(seen) > 1:
                raise ConversionError(
                    f"convert: {name!r} is called with {' and '.join(map(str, sorted(seen)))} submaps, and with "
                    f"sampling={self.sampling.name!r} each needs samplers of its own. Give each call a module of "
                    "its own, or use sampling='naive'."
                )
            try:
                module.set_submaps(submaps, samplers, self.sampling.name)
            except ValueError as error:
                raise ConversionError(f"convert: {name!r}: {error}") from error

    def _samplers(self, module: Multisampling, submaps: int) -> Assignment:
        stride, _ = strides(module)
        if stride == 1:
            return module.samplers
        path = (*self.paths.get(submaps, ()), stride)
        samplers = self.sampling.assignment(path)
        self.paths.setdefault(submaps * len(samplers[0]), path)
        return samplers

    def _leave(self, name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
            self.active.pop()
            if name in self.result.layers and isinstance(output, Tensor):
                visit = Visit(module.submaps, output.shape[0] // _IMAGES, tuple(output.shape[2:]))
                visits = self.result.visits.setdefault(name, [])
                if visit not in visits:
                    visits.append(visit)

        return hook

    def _run(self, training: bool) -> list[Tensor]:
        self.calls.clear()
        self.active.clear()
        try:
            return outputs(self.dry.train(training), self.input_size)
        except (ConversionError, _CalledApartError):
            raise
        except Exception as error:
            where = next((repr(name) for name in reversed(self.active) if name), "the model's own forward")
            raise ConversionError(
                f"convert: the converted network breaks in {where}: {_gist(error)}. Its branches disagree in "
                f"submaps or it reshapes the batch. Layers that stay traditional: {self._traditional()}."
            ) from error

    def _merged_outputs(self, training: bool) -> dict[int, int]:
        """Which outputs still hold submaps, by their place among the output's tensors."""
        folded = {}
        for place, output in enumerate(self._run(training)):
            submaps, rest = divmod(output.shape[0], _IMAGES) if output.ndim else (1, 0)
            if rest or submaps < 1:
                raise ConversionError(
                    f"convert: output {place} of the network has {output.shape[0]} rows for {_IMAGES} images; "
                    "its submaps cannot be merged"
                )
            if submaps > 1:
                folded[place] = submaps
        return folded

    def _traditional(self) -> str:
        return "; ".join(f"{name} ({why})" for name, why in self.result.traditional.items()) or "none"

    def _nothing(self) -> str:
        return (
            "convert: nothing to convert, the network has no layer with a stride above 1 that can become a "
            f"multisampling layer. Layers that stay traditional: {self._traditional()}."
        )


def _gist(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else '(no message)'}"
    )
