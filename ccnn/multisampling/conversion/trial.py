"""The trial of a conversion: a converted skeleton runs, and tells what every layer of it receives."""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..base import Multisampling, Placement
from ..joint import Joint, JointReduction, ToDense
from ..samplers import Assignment, Path, Position, Sampling
from ..submaps import offsets
from ..windows import strides
from .disagreement import explained
from .functional import Call, Calls, FunctionalCalls, redirect
from .merge import MergeInput
from .meta import IMAGES, ConversionError, InputSize, Watch, outputs
from .rules import become
from .survey import Survey

if TYPE_CHECKING:
    from ..draws import Draws


@dataclass(frozen=True)
class Visit:
    """What a multisampling layer was seen to do: submaps received and yielded, the output's (H, W), the level."""

    submaps: int
    submaps_out: int
    size_out: tuple[int, ...]
    path: Path


@dataclass
class Plan:
    """What conversion changes, by layer name."""

    layers: dict[str, Joint | Multisampling] = field(default_factory=dict)
    """The layers that change, as converted, on the meta device; those that are never called are left out."""
    calls: dict[str, Calls] = field(default_factory=dict)
    """The modules that pool or reduce maps in their own forward, and what takes the place of their calls."""
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    """What the multisampling layers were seen to do; a module may be called at several levels."""
    traditional: dict[str, str] = field(default_factory=dict)
    """Layers that stay as they are though one might expect otherwise, and why."""
    heads: dict[str, MergeInput] = field(default_factory=dict)
    """The modules at whose input the submaps are merged, if the network has such."""
    outputs: dict[bool, dict[int, int]] = field(default_factory=dict)
    """In training and in evaluation: submaps of those outputs of the network that still have some."""
    nested: set[str] = field(default_factory=set)
    """Modules whose submodules do so, too."""
    one_row_each: bool = True
    """Whether the network yields one tensor with a row for each image."""
    draws: "Draws | None" = None
    levels: dict[Path, Assignment] = field(default_factory=dict)
    """The samplers of each level."""

    def steps(self, path: Path) -> tuple[tuple[int, Assignment], ...]:
        """Stride and assignment of each level on a path, as `ccnn.multisampling.submaps.offsets` takes them."""
        return tuple((stride, self.levels[path[: i + 1]]) for i, stride in enumerate(path))


class SeenApartError(ConversionError):
    """A layer that is to see all submaps of a map at once is called at several levels."""

    def __init__(self, name: str) -> None:
        super().__init__(f"convert: {name!r} is called at several levels")
        self.name = name


def named_calls(calls: Calls) -> Iterator[Call]:
    """The layers of a module's functional calls; each knows its name as `where`."""
    return (layer for layers in calls.values() for layer in layers if layer is not None)


class Trial:
    """Runs a skeleton with its layers replaced and tells each what it receives."""

    def __init__(
        self,
        dry: nn.Module,
        rules: dict[str, type[nn.Module] | None],
        plain: Survey,
        result: Plan,
        input_size: InputSize,
        sampling: Sampling,
    ) -> None:
        self.dry, self.plain, self.input_size, self.sampling = dry, plain, input_size, sampling
        self.result = result
        result.nested = plain.nested
        self.paths: dict[int, Path] = {1: ()}  # number of submaps, or area where it never grows → path to it
        self.calls: list[tuple[str, int, int]] = []  # name, dimensions and submaps of the input
        self.times: Counter[str] = Counter()  # calls of each module in the current run
        self.merging: dict[str, MergeInput] = {}
        self.latest: Path = ()
        self.yielded = ("", 1)  # the multisampling layer that ran last, and its submaps
        self.watch = Watch(dry, self._call, self._return)
        if sampling.draws:
            from ..draws import Draws  # imports torch._dynamo, which takes a second

            self.result.draws = Draws(sampling)
            dry.register_forward_pre_hook(self.result.draws)
        for name, module in list(dry.named_modules()):
            if (rule := rules.get(name)) is not None:
                become(module, rule)
                self._enlist(name, module)
        for owner, calls in plain.calls.items():
            mine = copy.deepcopy(calls)
            for layers in mine.values():
                layers[:] = [layer if layer is not None and layer.where in rules else None for layer in layers]
            if any(map(any, mine.values())):
                self._redirect(owner, mine)

    def _redirect(self, owner: str, calls: Calls) -> None:
        module = self.dry.get_submodule(owner)
        become(module, FunctionalCalls)
        redirect(module, calls, owner in self.plain.nested)
        self.result.calls[owner] = calls
        for call in named_calls(calls):
            self.watch.also(call.where, call)
            self._enlist(call.where, call)

    def run(self) -> Plan:
        """Runs the network until the plan is complete.

        Raises:
            ConversionError: if there is nothing to convert, or the network falls apart.
            SeenApartError: if a joint layer is called at several levels.
        """
        result = self.result
        self._run(training=False)
        result.outputs = self._place_merge()
        self._refuse_lost_submaps()
        result.one_row_each = all(rows == [IMAGES] for rows in self.plain.outputs.values())
        result.outputs.setdefault(True, result.outputs[False])  # of a network that cannot train without numbers
        result.layers = {name: layer for name, layer in result.layers.items() if _matters(layer)}
        for kinds in result.calls.values():
            for layers in kinds.values():
                layers[:] = [layer if layer and _matters(layer) else None for layer in layers]
        if not any(_strided(layer) for layer in result.layers.values()):
            raise ConversionError(
                "convert: nothing to convert, the network has no layer with a stride above 1 that can become a "
                f"multisampling layer. Layers that stay traditional: {self._traditional()}."
            )
        return result

    def _refuse_lost_submaps(self) -> None:
        """If nothing merged the submaps and they are gone all the same, the forward mixed them up with images."""
        name, submaps = self.yielded
        if submaps > 1 and not self.result.heads and not any(self.result.outputs.values()):
            raise ConversionError(
                f"convert: {name!r} yields {submaps} submaps, which are lost after it without having been merged. "
                "A forward that reshapes or cuts by the batch size of its input (x.size(0), len(x)) does not fit "
                "submaps; x.flatten(1) does."
            )

    def _enlist(self, name: str, layer: Any) -> None:
        self.result.layers[name] = layer
        if isinstance(layer, JointReduction):
            del layer.placement  # not known before it is called

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
        new = not hasattr(layer, "placement")
        if self._drawing and not new:
            layer.placement = replace(layer.placement, submaps_training=submaps)
        elif isinstance(layer, Multisampling):
            self._arrive(name, layer, x, submaps)
        elif not new and layer.submaps != submaps and isinstance(layer, Joint):
            raise SeenApartError(name)
        else:
            layer.placement = Placement(submaps, draws=self.result.draws)

    def _arrive(self, name: str, layer: Multisampling, x: Tensor, submaps: int) -> None:
        """Tells a multisampling layer, before it runs, what it receives and what it keeps."""
        stride, _ = strides(layer)
        samplers: Assignment = (((0, 0),),)
        path: Path = ()
        places: list[Position] = []
        if stride > 1:
            key = self._key(submaps, x)
            if key not in self.paths and (self.sampling.draws or self.sampling.name in ("lattice", "custom")):
                raise ConversionError(
                    f"convert: {name!r} receives {submaps} submaps, which no steps of subsampling give; "
                    f"sampling={self.sampling.name!r} has no samplers for them. Use sampling='naive'."
                )
            path = (*self.paths.get(key, ()), stride)
            samplers = self.sampling.assignment(path)
            if len(samplers[0]) > 1:
                self.paths.setdefault(submaps * len(samplers[0]), path)
            else:
                self.latest = path
            self.result.levels[path] = samplers
            if self.result.draws is not None:
                self.result.draws.paths.add(path)
        elif isinstance(layer, ToDense):
            path = self.paths.get(self._key(submaps, x), ())
            places = self._places(name, path, submaps)
        needs_number = len(samplers) > 1 or getattr(layer, "depth", 1) > 1 or self.sampling.draws
        seen = {visit.submaps for visit in self.result.visits.get(name, [])} | {submaps}
        if needs_number and len(seen) > 1:
            raise ConversionError(
                f"convert: {name!r} is called with {' and '.join(map(str, sorted(seen)))} submaps, and with "
                f"sampling={self.sampling.name!r} each needs samplers of its own. Give each call a module of "
                "its own, or use sampling='naive'."
            )
        try:
            layer.placement = Placement(
                submaps, samplers, self.sampling.name, self.sampling.border, path,
                draws=self.result.draws, offsets=tuple(places),
            )  # fmt: skip
        except ValueError as error:
            raise ConversionError(f"convert: {name!r}: {error}") from error

    def _places(self, name: str, path: Path, submaps: int) -> list[Position]:
        """The places of all submaps, for a layer that puts them back there."""
        if self.sampling.draws:
            raise ConversionError(
                f"convert: {name!r} puts submaps back to their places, which sampling={self.sampling.name!r} "
                "draws anew in every step; use a method that does not"
            )
        places = offsets(self.result.steps(path))
        if len(places) != submaps:
            raise ConversionError(
                f"convert: {name!r} receives {submaps} submaps, which no steps of subsampling give"
            )
        return places

    def _key(self, submaps: int, x: Tensor) -> int:
        """What tells the levels of a network apart: the number of submaps that reach a layer.

        Where every level keeps a single position that is always the same, so it is the size of the map.
        """
        if self.sampling.kept(2 if self.sampling.name != "custom" else len(self.sampling.samplers[0])) > 1:
            return submaps
        area = -x.shape[2] * x.shape[3]
        self.paths.setdefault(area, self.latest)
        return area

    def _return(self, name: str, module: nn.Module, output: Any) -> None:
        layer: Any = self.result.layers.get(name)
        if isinstance(layer, Multisampling) and not self.dry.training:
            self.yielded = (name, layer.submaps_out)
        if _strided(layer) and isinstance(output, Tensor) and not self._drawing:
            visit = Visit(layer.submaps, layer.submaps_out, tuple(output.shape[2:]), layer.placement.path)
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
            self.merging[name] = hook
            handle = self.dry.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True)
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
    if not hasattr(layer, "placement"):
        return False
    return isinstance(layer, Multisampling) or max(layer.submaps, layer.placement.in_training) > 1


def _strided(layer: Joint | Multisampling | None) -> bool:
    return isinstance(layer, Multisampling) and not isinstance(layer, ToDense) and bool(layer.placement.path)


def _number(outputs: dict[bool, dict[int, int]]) -> int:
    """How many outputs are still folded."""
    return sum(map(len, outputs.values()))
