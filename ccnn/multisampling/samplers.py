"""Sampling methods: which positions of a k×k window are kept, for every incoming submap.

A *sampler* is the tuple of kept positions `(dy, dx)` of a window, in the order in which they become
submaps. A layer with S incoming submaps has an *assignment*, one sampler for each submap, and a
*sampling method* chooses the assignments of a whole network, level by level, so that a residual branch
and its shortcut always agree. Source: arXiv 1805.10766, the section on sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from random import Random
from typing import Any, Literal

from .lattice import (
    COMPLEMENTARY,
    STANDARD,
    Position,
    Sampler,
    binary_steps,
    compose,
    lattice,
    lines,
)

__all__ = ["COMPLEMENTARY", "METHODS", "STANDARD", "Assignment", "Position", "Sampler", "Sampling", "diagonal"]

Assignment = tuple[Sampler, ...]
"""One sampler for each incoming submap, or a single one for all of them."""

METHODS = {
    "traditional": "one of k² positions, the top left: the plain network, for controls",
    "naive": "the diagonal on every submap; the paper's CIFAR experiments",
    "lattice": "samplers chosen so that the samples of all submaps are spread evenly",
    "random": "samplers drawn anew in every training step; `evaluation` says what is used otherwise",
    "stochastic": "one position drawn in every training step, at a plain network's cost; then `evaluation`",
    "three_quarters": "top left, bottom right, top right",
    "complete": "all k² positions: no information is lost, as with dilation",
    "custom": "`samplers` and `sequence` as given",
}
"""Every sampling method, and what it keeps."""

_TRADITIONAL: Sampler = ((0, 0),)
_THREE_QUARTERS: Sampler = ((0, 0), (1, 1), (0, 1))


def diagonal(stride: int) -> Sampler:
    """The main diagonal of a stride×stride window: STANDARD for stride 2, n-rooks for any stride."""
    return tuple((i, i) for i in range(stride))


@dataclass(frozen=True)
class Sampling:
    """A sampling method and where in a network it applies.

    Args:
        name: one of `METHODS`.
        skip_first: so many of the first subsampling levels stay traditional, which saves most of the cost.
        only: globs of layer names (`layer3.*`); no other layer is converted. Empty: all are.
        skip: globs of layer names that stay traditional.
        border: what a shifted grid of windows finds beyond the bottom and the right edge of the padded input:
            `zeros` (the paper's), or `replicate`: its image goes on, before padding, with copies of the last
            row and column. A difference only where a grid reaches that far, as poolings without padding and
            1×1 kernels do at odd sizes.
        evaluation: the method in evaluation of `random` and `stochastic`: any that does not draw, and
            `traditional` for `stochastic` alone.
        samplers: for `custom`, k×k matrices of 0 and 1, all with equally many ones.
        sequence: for `custom`, for each level an index into `samplers` per incoming submap, or a single
            one for all of them. The last level's, if single, goes for all further ones.

    Raises:
        ValueError: for anything that is not as described here.
    """

    name: str = "naive"
    skip_first: int = 0
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    border: Literal["zeros", "replicate"] = "zeros"
    evaluation: str = "lattice"
    samplers: Sequence[Sequence[Sequence[int]]] = ()
    sequence: Sequence[Sequence[int]] = ((0,),)
    _custom: tuple[Sampler, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        _choice("name", self.name, tuple(METHODS))
        _choice("border", self.border, ("zeros", "replicate"))
        never = _DRAWING if self.name == "stochastic" else (*_DRAWING, "traditional")
        _choice("evaluation", self.evaluation, tuple(m for m in METHODS if m not in never))
        if type(self.skip_first) is not int or self.skip_first < 0:
            raise ValueError(f"sampling.skip_first: expected 0 or more levels, got {self.skip_first!r}")
        for name in ("only", "skip"):
            globs = getattr(self, name)
            globs = (globs,) if isinstance(globs, str) else globs
            if not isinstance(globs, Sequence) or not all(isinstance(glob, str) for glob in globs):
                raise ValueError(
                    f"sampling.{name}: expected globs of layer names, such as ['layer1.*'], got {globs!r}"
                )
            object.__setattr__(self, name, tuple(globs))
        uses_custom = self.name == "custom" or (self.draws and self.evaluation == "custom")
        if uses_custom != bool(self.samplers):
            raise ValueError(
                "sampling.samplers: name=custom needs k×k matrices of 0 and 1, such as [[[1, 0], [0, 1]]]"
                if uses_custom
                else f"sampling.samplers: only name=custom takes samplers, got name={self.name!r}"
            )
        object.__setattr__(self, "samplers", _nested("samplers", self.samplers, 3))
        object.__setattr__(self, "sequence", _nested("sequence", self.sequence, 2))
        object.__setattr__(self, "_custom", tuple(_sampler(i, m) for i, m in enumerate(self.samplers)))
        if uses_custom:
            _check_custom(self._custom, [len(m) for m in self.samplers], self.sequence)

    def __str__(self) -> str:
        """The name, then whatever is not as by default."""
        settings = {
            f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.init and f.name != "name"
        }
        changed = [f"{key}={value}" for key, (value, default) in settings.items() if value != default]
        return " ".join([self.name, *changed])

    @property
    def draws(self) -> bool:
        """Whether training draws samplers at random."""
        return self.name in _DRAWING

    def in_evaluation(self) -> "Sampling":
        """The method that evaluation uses: this one, or `evaluation` for those that draw."""
        return replace(self, name=self.evaluation) if self.draws else self

    def refuses(self, stride: int) -> str | None:
        """Why layers of this stride stay traditional, or None."""
        name = self.evaluation if self.draws else self.name
        if name == "three_quarters" and stride & (stride - 1):
            return f"three_quarters is for strides that are powers of two, not {stride}"
        if name == "custom" and stride != len(self.samplers[0]):
            return f"the custom samplers are for stride {len(self.samplers[0])}, not {stride}"
        return None

    def kept(self, stride: int) -> int:
        """How many positions of a stride×stride window are kept in evaluation."""
        return len(self.assignment((stride,))[0])

    def assignment(self, strides: Sequence[int]) -> Assignment:
        """The samplers in evaluation of the layer that is reached through the given strides.

        Args:
            strides: the strides of the multisampling steps on the way from the input, the layer's own last.

        Returns:
            One sampler per incoming submap; a single one where every submap has the same.

        Raises:
            ValueError: if a custom sequence does not fit the network.
        """
        stride = strides[-1]
        match self.evaluation if self.draws else self.name:
            case "traditional":
                return (_TRADITIONAL,)
            case "naive":
                return (diagonal(stride),)
            case "lattice":
                return lattice(tuple(strides))
            case "three_quarters":
                return (compose([_THREE_QUARTERS] * len(binary_steps((stride,)))),)
            case "complete":
                return (tuple((dy, dx) for dx in range(stride) for dy in range(stride)),)
            case _:
                return self._sequence(strides)

    def draw(self, strides: Sequence[int], random: Random) -> Assignment:
        """The samplers in one step of training, as `assignment`, for strides that are no powers of two but 2."""
        stride = strides[-1]
        if self.name == "stochastic":
            return (((random.randrange(stride), random.randrange(stride)),),)
        submaps = 1
        for before in strides[:-1]:
            submaps *= before
        rooks = (STANDARD, COMPLEMENTARY) if stride == 2 else lines(stride)
        return tuple(random.choice(rooks) for _ in range(submaps))

    def _sequence(self, strides: Sequence[int]) -> Assignment:
        level = len(strides) - 1
        indices = self.sequence[min(level, len(self.sequence) - 1)]
        submaps = len(self._custom[0]) ** level
        if len(indices) != 1 and (level >= len(self.sequence) or len(indices) != submaps):
            given = f"{len(indices)} samplers" if level < len(self.sequence) else "none"
            raise ValueError(
                f"sampling.sequence: level {level + 1} of this network receives {submaps} submaps and needs a "
                f"sampler's index for each, or one for all; got {given}"
            )
        return tuple(self._custom[index] for index in indices)


_DRAWING = ("random", "stochastic")


def _choice(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"sampling.{key}: got {value!r}, expected one of {', '.join(known)}.{hint}")


def _nested(key: str, value: Any, depth: int, place: str = "") -> Any:
    """Lists in lists as tuples in tuples."""
    if not depth:
        return value
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"sampling.{key}{place}: expected a list, got {value!r}; {_SHAPES[key]}")
    return tuple(_nested(key, part, depth - 1, f"{place}[{i}]") for i, part in enumerate(value))


_SHAPES = {
    "samplers": "a list of matrices of 0 and 1 is needed, such as [[[1, 0], [0, 1]]]",
    "sequence": "a list of indices for each level is needed, such as [[0], [0, 1]]",
}


def _sampler(index: int, matrix: Sequence[Sequence[int]]) -> Sampler:
    """The positions of the ones of a matrix, row by row."""
    place = f"sampling.samplers[{index}]"
    for row, values in enumerate(matrix):
        if len(values) != len(matrix):
            raise ValueError(
                f"{place}: expected a square matrix, got {len(values)} values in row {row} of {len(matrix)}"
            )
        for column, value in enumerate(values):
            if value not in (0, 1):
                raise ValueError(f"{place}[{row}][{column}]: expected 0 or 1, got {value!r}")
    kept = tuple((y, x) for y, values in enumerate(matrix) for x, value in enumerate(values) if value)
    if not kept:
        raise ValueError(f"{place}: keeps nothing; expected at least one 1")
    return kept


def _check_custom(samplers: Sequence[Sampler], sides: Sequence[int], sequence: Sequence[Sequence[int]]) -> None:
    for index, sampler in enumerate(samplers):
        if sides[index] != sides[0] or len(sampler) != len(samplers[0]):
            raise ValueError(
                f"sampling.samplers[{index}]: expected as large a matrix with as many ones as samplers[0] "
                f"({sides[0]}×{sides[0]}, {len(samplers[0])} ones), got {sides[index]} and {len(sampler)}"
            )
    if not sequence or not all(sequence):
        raise ValueError("sampling.sequence: expected a list of indices for each level, got an empty one")
    for level, indices in enumerate(sequence):
        for place, index in enumerate(indices):
            if not 0 <= index < len(samplers):
                raise ValueError(
                    f"sampling.sequence[{level}][{place}]: expected the index of a sampler, "
                    f"0 to {len(samplers) - 1}, got {index}"
                )


def resolve(sampling: str | Sampling) -> Sampling:
    """A sampling method by its name, or as it is."""
    if isinstance(sampling, str):
        return Sampling(sampling)
    if isinstance(sampling, Sampling):
        return sampling
    raise TypeError(f"sampling: expected a method's name or a ccnn.Sampling, got {sampling!r}")
