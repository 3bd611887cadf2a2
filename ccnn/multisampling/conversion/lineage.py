"""Lineages: the steps of subsampling that led to a map, and the policy that says which of them keep submaps."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from random import Random

from torch import nn

from ..lattice import binary_steps
from ..samplers import Sampling
from ..windows import Pair
from .rules import own_forward

Scale = tuple[float, float]


@dataclass(frozen=True)
class Step:
    """One step on the way from the input to a map.

    Attributes:
        place: what made it.
        stride: 1 for a layer across submaps.
        scale: height and width, in pixels of the input, of a pixel that it received.
        depth: how many consecutive submaps a layer across submaps sees.
    """

    place: str
    stride: int
    scale: Scale
    depth: int = 1


@dataclass(frozen=True)
class Lineage:
    """The steps that keep submaps, up to a map.

    Attributes:
        steps: from the input on.
        scale: height and width of one of its pixels, in pixels of the input.
        skipped: how many levels were left traditional because they are the first ones.
        resized: of a note about what resizes maps, which counts whatever the submaps are.
    """

    steps: tuple[Step, ...] = ()
    scale: Scale = (1.0, 1.0)
    skipped: int = 0
    resized: bool = False

    @property
    def path(self) -> tuple[int, ...]:
        """The strides of the steps of subsampling."""
        return tuple(step.stride for step in self.steps if step.stride > 1)

    def through(self, step: Step) -> "Lineage":
        """After another step."""
        return replace(self.scaled((step.stride, step.stride)), steps=(*self.steps, step))

    def scaled(self, ratio: tuple[float, float], skipped: int = 0) -> "Lineage":
        """After an operation that keeps every `ratio`-th pixel of each submap."""
        scale = (self.scale[0] * ratio[0], self.scale[1] * ratio[1])
        return replace(self, scale=scale, skipped=self.skipped + skipped)

    def merged(self) -> "Lineage":
        """After the submaps were averaged."""
        return Lineage(scale=self.scale, skipped=self.skipped + len(self.path))


@dataclass
class Policy:
    """Which places keep submaps, and what that makes of a lineage.

    Attributes:
        sampling: the sampling method.
        filter_fn: says of a module and a name whether it may be converted.
        traditional: the places that do not, and why.
        reduced: average poolings of 2×2 windows that reduce the whole map at the end of the network.
        heads: modules at whose input the submaps are merged.
        levels: at which levels places were seen that `skip_first` is about.
        problems: what is wrong with the settings.
    """

    sampling: Sampling
    filter_fn: Callable[[nn.Module, str], bool] | None = None
    traditional: dict[str, str] = field(default_factory=dict)
    reduced: set[str] = field(default_factory=set)
    heads: set[str] = field(default_factory=set)
    seen: dict[str, None] = field(default_factory=dict)
    levels: dict[str, set[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def step(self, place: str, module: nn.Module, stride: Pair, lineage: Lineage) -> Step | None:
        """The step that a strided place makes, None if it stays traditional."""
        self.seen[place] = None
        if place not in self.traditional and (reason := self._reason(place, module, stride)):
            self.traditional[place] = reason
        first = self.sampling.skip_first
        skips = f"skip_first {first}"
        if first and self.traditional.get(place, skips) == skips:
            levels = self.levels.setdefault(place, set())
            levels.add(lineage.skipped + len(lineage.path) + 1)
            if min(levels) <= first:
                self.traditional[place] = skips
        if place in self.traditional:
            return None
        if any(step.depth > 1 for step in lineage.steps):
            samplers = self.sampling.assignment((*lineage.path, stride[0]))
            if self.sampling.draws or len(samplers) not in (1, self.submaps(lineage)):
                self._complain(
                    f"{place!r} receives {self.submaps(lineage)} submaps, which no steps of subsampling give; "
                    f"sampling={self.sampling.name!r} has no samplers for them. Use sampling='naive'"
                )
        return Step(place, stride[0], lineage.scale)

    def scaled(self, place: str, stride: Pair, lineage: Lineage) -> Lineage:
        """After a strided place that stays traditional."""
        return lineage.scaled(stride, skipped=self.traditional.get(place, "").startswith("skip_first"))

    def across(self, place: str, depth: int, wrap: bool, lineage: Lineage) -> Lineage:
        """After a layer that looks across submaps."""
        if depth == 1 or wrap or self.submaps(lineage) < depth:
            return lineage
        after = replace(lineage, steps=(*lineage.steps, Step(place, 1, lineage.scale, depth)))
        return after if self.submaps(after) > 1 else lineage.merged()

    def submaps(self, lineage: Lineage, training: bool = False) -> int:
        """The number of submaps of a map; methods that draw may keep another number in training."""
        count, path = 1, tuple[int, ...]()
        for step in lineage.steps:
            if step.depth > 1:
                count -= step.depth - 1 if count >= step.depth else 0
                continue
            path = (*path, step.stride)
            if training and self.sampling.draws:
                count *= prod(len(self.sampling.draw((k,), Random(0))[0]) for k in binary_steps((step.stride,)))
            else:
                count *= len(self.sampling.assignment(path)[0])
        return count

    def same(self, one: Lineage, other: Lineage) -> bool:
        """Whether the submaps of two maps stand for the same positions of the input, in the same order."""
        return one.steps == other.steps or self.positions(one) == self.positions(other)

    def positions(self, lineage: Lineage) -> tuple[object, ...]:
        """Where the submaps of a map stand in the input, and what else has to be alike for two maps to meet."""
        across = [(step.place, step.depth) for step in lineage.steps if step.depth > 1]
        drawn = [
            (k, step.scale[0] * before, step.scale[1] * before)
            for step in lineage.steps
            for k, before in _binary(step.stride)
        ]
        return (*self._places(lineage), *across, *(drawn if self.sampling.draws else ()))

    def shift(self, lineage: Lineage) -> float:
        """How far the submaps of a map are displaced, at most, in its own pixels."""
        return max(place[axis] / lineage.scale[axis] for place in self._places(lineage) for axis in (0, 1))

    def _places(self, lineage: Lineage) -> list[Scale]:
        """The displacement of each submap, in pixels of the input."""
        places: list[Scale] = [(0.0, 0.0)]
        path: tuple[int, ...] = ()
        for step in lineage.steps:
            if step.depth > 1:
                continue
            path = (*path, step.stride)
            samplers = self.sampling.assignment(path)
            each = samplers * len(places) if len(samplers) == 1 else samplers[: len(places)]
            places = [
                (y + step.scale[0] * sampler[kept][0], x + step.scale[1] * sampler[kept][1])
                for kept in range(len(each[0]))
                for (y, x), sampler in zip(places, each, strict=False)
            ]
        return places

    def _reason(self, place: str, module: nn.Module, stride: Pair) -> str:
        sampling = self.sampling
        if stride[0] != stride[1]:
            return f"stride {stride} differs between the axes"
        if own_forward(module):
            return "its forward belongs to the instance; define it in a class"
        if sampling.only and not matches(place, sampling.only):
            return f"only {', '.join(sampling.only)}"
        if matches(place, sampling.skip):
            return f"skip {', '.join(sampling.skip)}"
        if self.filter_fn is not None and not self.filter_fn(module, place):
            return "filter_fn"
        return sampling.refuses(stride[0]) or ""

    def _complain(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def matches(name: str, globs: object) -> bool:
    """Whether a name is one of the globs or matches one; `max_pool2d[0]` is no glob of itself."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)  # type: ignore[attr-defined]


@cache
def _binary(stride: int) -> list[tuple[int, int]]:
    """A stride as steps of 2 where it is a power of 2, as samplers are drawn: each step and what came before."""
    before, result = 1, []
    for k in binary_steps((stride,)) if stride > 1 else ():
        result.append((k, before))
        before *= k
    return result
