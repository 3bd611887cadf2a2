"""The plan of a conversion: which layers change, and the number of submaps that each of them receives."""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from ccnn.draws import Draws, Path
from ccnn.dry_run import (
    ConversionError,
    InputSize,
    SeenApartError,
    Survey,
    Watch,
    explained,
    outputs,
    skeleton,
    survey,
)
from ccnn.functional import Call, FunctionalCalls, call_name
from ccnn.joint import Joint, JointReduction
from ccnn.layers import CheckeredAvgPool2d, CheckeredMaxPool2d
from ccnn.merge import MergeInput
from ccnn.multisampling import Multisampling, strides
from ccnn.rules import become, find_joint, find_rule
from ccnn.samplers import Assignment, Sampling


@dataclass(frozen=True)
class Visit:
    """What a multisampling layer was seen to do: the submaps it receives and yields, its output's (H, W)."""

    submaps: int
    submaps_out: int
    size_out: tuple[int, ...]


@dataclass
class Plan:
    """What conversion changes, by layer name."""

    layers: dict[str, Joint | Multisampling] = field(default_factory=dict)
    """The layers that change, as converted, on the meta device; those that are never called are left out."""
    calls: dict[str, dict[bool, list[Call | None]]] = field(default_factory=dict)
    """The modules that pool or reduce maps in their own forward, and what takes the place of their calls."""
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    """What the multisampling layers were seen to do; a module may be called at several levels."""
    traditional: dict[str, str] = field(default_factory=dict)
    """Layers that stay as they are though one might expect otherwise, and why."""
    heads: dict[str, MergeInput] = field(default_factory=dict)
    """The modules at whose input the submaps are merged, if the network has such."""
    outputs: dict[bool, dict[int, int]] = field(default_factory=dict)
    """In training and in evaluation: submaps of those outputs of the network that still have some."""
    draws: Draws | None = None
    levels: dict[Path, Assignment] = field(default_factory=dict)
    """The samplers of each level."""


def plan(model: nn.Module, input_size: InputSize, sampling: Sampling) -> Plan:
    """Plans the conversion of a model, which is not touched; neither is torch's generator.

    Raises:
        ConversionError: if the network does not run, has nothing to convert, or falls apart when converted.
    """
    with torch.random.fork_rng(devices=[]):
        dry = skeleton(model)
        plain = survey(dry, input_size)
        rules, traditional = _choose(dry, plain, sampling)
        while True:
            trial = _Trial(copy.deepcopy(dry), rules, plain, dict(traditional), input_size, sampling)
            try:
                return trial.plan()
            except SeenApartError as seen:
                # A shared dropout or pooling that several levels call: plain, it treats each submap alone.
                del rules[seen.name]
                traditional[seen.name] = "called at several levels, so it treats each submap on its own"


def _choose(
    dry: nn.Module, plain: Survey, sampling: Sampling
) -> tuple[dict[str, type[nn.Module] | None], dict[str, str]]:
    """Which layers change and into what, None for functional calls; which do not, and why."""
    rules: dict[str, type[nn.Module] | None] = {}
    traditional: dict[str, str] = dict(plain.functional)
    candidates: dict[str, tuple[nn.Module, type[Multisampling] | None]] = {}
    for name, module in dry.named_modules():
        if isinstance(module, Multisampling):
            if strides(module) != (1, 1):
                raise ConversionError(
                    f"convert: {name or 'the model'!r} is a multisampling layer already; convert the plain network"
                )
            rules[name] = type(module)
        elif (joint := find_joint(module)) is not None:
            rules[name] = joint
        elif _strided(module):
            rule, reason = find_rule(module)
            reason = rule.refuses(module) or "" if rule else reason
            if reason:
                traditional[name] = reason
            else:
                candidates[name] = (module, rule)
    for name, call in _named_calls(plain.calls):
        if isinstance(call, JointReduction):
            rules[name] = None
        else:
            candidates[name] = (call, None)
    for name, reason in _excluded({name: strides(m)[0] for name, (m, _) in candidates.items()}, plain, sampling):
        traditional[name] = reason
        del candidates[name]
    return rules | {name: rule for name, (_, rule) in candidates.items()}, traditional


def _strided(module: nn.Module) -> bool:
    known = (
        isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.LPPool2d)
        or find_rule(module)[0] is not None
    )
    return known and strides(module) != (1, 1)


def _named_calls(calls: dict[str, dict[bool, list[Call | None]]]) -> Iterator[tuple[str, Call]]:
    for owner, kinds in calls.items():
        for layers in kinds.values():
            for place, layer in enumerate(layers):
                if layer is not None:
                    yield call_name(owner, _KINDS[type(layer)], place), layer


_KINDS = {CheckeredMaxPool2d: "max_pool2d", CheckeredAvgPool2d: "avg_pool2d", JointReduction: "mean"}


def _matches(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)  # a name such as `cell.max_pool2d[0]` is no glob of itself


def _excluded(candidates: dict[str, int], plain: Survey, sampling: Sampling) -> Iterator[tuple[str, str]]:
    """The strided layers that the sampling leaves traditional, and why.

    Raises:
        ConversionError: for a glob that matches none of them.
    """
    for glob in (*sampling.only, *sampling.skip):
        if not any(_matches(name, glob) for name in candidates):
            raise ConversionError(
                f"convert: no strided layer matches the name {glob!r}; there are {', '.join(candidates) or 'none'}"
            )
    sizes = sorted({plain.sizes[name] for name in candidates if name in plain.sizes}, reverse=True)
    first = set(sizes[: sampling.skip_first])
    for name, stride in candidates.items():
        if sampling.only and not any(_matches(name, glob) for glob in sampling.only):
            yield name, f"only {', '.join(sampling.only)}"
        elif any(_matches(name, glob) for glob in sampling.skip):
            yield name, f"skip {', '.join(sampling.skip)}"
        elif name in plain.whole:
            yield name, "pools its whole map at once, as heads do"
        elif plain.sizes.get(name) in first:
            yield name, f"skip_first {sampling.skip_first}"
        elif refusal := sampling.refuses(stride):
            yield name, refusal


class _Trial:
    """Runs a skeleton with its layers replaced and tells each what it receives."""

    def __init__(
        self,
        dry: nn.Module,
        rules: dict[str, type[nn.Module] | None],
        plain: Survey,
        traditional: dict[str, str],
        input_size: InputSize,
        sampling: Sampling,
    ) -> None:
        self.dry, self.plain, self.input_size, self.sampling = dry, plain, input_size, sampling
        self.result = Plan(traditional=traditional)
        self.paths: dict[int, Path] = {1: ()}  # number of submaps → strides that led to it
        self.calls: list[tuple[str, int, int]] = []  # name, dimensions and submaps of the input
        self.times: Counter[str] = Counter()  # calls of each module in the current run
        self.merging: dict[str, MergeInput] = {}
        self.watch = Watch(dry, self._call, self._return)
        if sampling.draws:
            self.result.draws = Draws(sampling)
            dry.register_forward_pre_hook(self.result.draws)
        for name, module in list(dry.named_modules()):
            if (rule := rules.get(name)) is not None:
                become(module, rule)
                self._enlist(name, module)
        for owner, kinds in plain.calls.items():
            copies = copy.deepcopy(kinds)
            kept = {name: call for name, call in _named_calls({owner: copies}) if name in rules}
            if not kept:
                continue
            for layers in copies.values():
                layers[:] = [layer if any(layer is call for call in kept.values()) else None for layer in layers]
            module = dry.get_submodule(owner)
            become(module, FunctionalCalls)
            module.__dict__["calls"] = self.result.calls[owner] = copies
            for name, call in kept.items():
                self.watch.also(name, call)
                self._enlist(name, call)

    def plan(self) -> Plan:
        result = self.result
        self._run(training=False)
        result.outputs = self._place_merge()
        result.layers = {name: layer for name, layer in result.layers.items() if _matters(layer)}
        for kinds in result.calls.values():
            for layers in kinds.values():
                layers[:] = [layer if layer and _matters(layer) else None for layer in layers]
        if not any(isinstance(layer, Multisampling) and layer.path for layer in result.layers.values()):
            raise ConversionError(
                "convert: nothing to convert, the network has no layer with a stride above 1 that can become a "
                f"multisampling layer. Layers that stay traditional: {self._traditional()}."
            )
        return result

    def _enlist(self, name: str, layer: Any) -> None:
        self.result.layers[name] = layer
        layer.draws = self.result.draws
        if isinstance(layer, JointReduction):
            del layer.submaps, layer.submaps_training  # not known before it is called
        if isinstance(layer, Multisampling):
            layer.border = self.sampling.border

    @property
    def _drawing(self) -> bool:
        return self.result.draws is not None and self.dry.training

    def _call(self, name: str, module: nn.Module, x: Tensor) -> None:
        submaps = self.plain.submaps(self.dry.training, name, self.times[name], x.shape[0])
        self.times[name] += 1
        self.calls.append((name, x.ndim, submaps))
        layer = self.merging.get(name) if name in self.merging else self.result.layers.get(name)
        if layer is None:
            return
        new = not hasattr(layer, "submaps")
        if self._drawing and not new:
            layer.submaps_training = submaps
        elif isinstance(layer, Multisampling):
            self._arrive(name, layer, submaps)
        elif not new and layer.submaps != submaps and isinstance(layer, Joint):
            raise SeenApartError(name)
        else:
            layer.submaps = layer.submaps_training = submaps

    def _arrive(self, name: str, layer: Multisampling, submaps: int) -> None:
        """Tells a multisampling layer, before it runs, what it receives and what it keeps."""
        stride, _ = strides(layer)
        samplers = layer.samplers if stride == 1 else ()
        if stride > 1:
            if submaps not in self.paths and (self.sampling.draws or self.sampling.name in ("lattice", "custom")):
                raise ConversionError(
                    f"convert: {name!r} receives {submaps} submaps, which no steps of subsampling give; "
                    f"sampling={self.sampling.name!r} has no samplers for them. Use sampling='naive'."
                )
            layer.path = (*self.paths.get(submaps, ()), stride)
            samplers = self.sampling.assignment(layer.path)
            self.paths.setdefault(submaps * len(samplers[0]), layer.path)
            self.result.levels[layer.path] = samplers
            if self.result.draws is not None:
                self.result.draws.paths.add(layer.path)
        needs_number = len(samplers) > 1 or getattr(layer, "depth", 1) > 1 or self.sampling.draws
        seen = {visit.submaps for visit in self.result.visits.get(name, [])} | {submaps}
        if needs_number and len(seen) > 1:
            raise ConversionError(
                f"convert: {name!r} is called with {' and '.join(map(str, sorted(seen)))} submaps, and with "
                f"sampling={self.sampling.name!r} each needs samplers of its own. Give each call a module of "
                "its own, or use sampling='naive'."
            )
        try:
            layer.set_submaps(submaps, samplers, self.sampling.name)
        except ValueError as error:
            raise ConversionError(f"convert: {name!r}: {error}") from error

    def _return(self, name: str, module: nn.Module, output: Any) -> None:
        layer = self.result.layers.get(name)
        if isinstance(layer, Multisampling) and layer.path and isinstance(output, Tensor) and not self._drawing:
            visit = Visit(layer.submaps, layer.submaps_out, tuple(output.shape[2:]))
            visits = self.result.visits.setdefault(name, [])
            if visit not in visits:
                visits.append(visit)

    def _place_merge(self) -> dict[bool, dict[int, int]]:
        """Merges at the first module that is called with a folded vector after the last folded map.

        Where the network falls apart with that one (squeeze-and-excitation written with linear layers calls
        such modules too), at the next; and at a further one for as long as outputs still hold submaps.
        """
        last_map = max(
            (i for i, (_, ndim, submaps) in enumerate(self.calls) if ndim == 4 and submaps > 1), default=-1
        )
        heads = list(dict.fromkeys(name for name, ndim, s in self.calls[last_map + 1 :] if ndim == 2 and s > 1))
        failure: ConversionError | None = None
        merged: dict[bool, dict[int, int]] | None = None
        for name in heads:
            hook = MergeInput()
            hook.draws = self.result.draws
            self.merging[name] = hook
            handle = self.dry.get_submodule(name).register_forward_pre_hook(hook)
            self.result.visits = {}
            left: dict[bool, dict[int, int]] | None = None
            try:
                left = self._all_outputs()
            except ConversionError as error:
                failure = failure or error
            if left is None or (merged is not None and _number(left) >= _number(merged)):
                handle.remove()
                del self.merging[name]
                continue
            self.result.heads[name], merged = hook, left
            if not _number(merged):
                break
        if merged is None and failure is not None:
            raise failure
        self.result.visits = {}
        return self._all_outputs()

    def _all_outputs(self) -> dict[bool, dict[int, int]]:
        return {training: self._merged_outputs(training) for training in self.plain.modes}

    def _run(self, training: bool) -> list[Tensor]:
        self.calls.clear()
        self.times.clear()
        self.watch.active.clear()
        with explained(self.watch, self._yields, self._traditional):
            return outputs(self.dry.train(training), self.input_size)

    def _merged_outputs(self, training: bool) -> dict[int, int]:
        """Which outputs still hold submaps, by their place among the output's tensors."""
        folded = {}
        for place, (output, plain) in enumerate(
            zip(self._run(training), self.plain.outputs[training], strict=True)
        ):
            submaps, rest = divmod(output.shape[0] if output.ndim else 1, plain)
            if rest:
                raise ConversionError(
                    f"convert: output {place} of the network has {output.shape[0]} rows, the plain network's "
                    f"{plain}; its submaps cannot be merged"
                )
            if submaps > 1:
                folded[place] = submaps
        return folded

    def _yields(self) -> dict[str, int]:
        return {name: visits[-1].submaps_out for name, visits in self.result.visits.items()}

    def _traditional(self) -> str:
        return (
            "; ".join(f"{name or 'the model'} ({why})" for name, why in self.result.traditional.items()) or "none"
        )


def _matters(layer: Joint | Multisampling) -> bool:
    """Whether a layer is called at all and, if it sees all submaps of a map, there are several."""
    if not hasattr(layer, "submaps"):
        return False
    return isinstance(layer, Multisampling) or max(layer.submaps, layer.submaps_training) > 1


def _number(outputs: dict[bool, dict[int, int]]) -> int:
    """How many outputs are still folded."""
    return sum(map(len, outputs.values()))
