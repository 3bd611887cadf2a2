"""Sampling methods: which positions of a k×k window are kept, for every incoming submap.

A *sampler* is the tuple of kept positions `(dy, dx)` of a window, in the order in which they become
submaps. A layer with S incoming submaps has an *assignment*, one sampler for each submap, and a
*sampling method* chooses the assignments of a whole network, level by level, so that a residual branch
and its shortcut always agree. Source: arXiv 1805.10766, the section on sampling.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import prod
from random import Random
from typing import Literal

from .custom import check_sequence, nested_tuples, samplers_of
from .lattice import COMPLEMENTARY, STANDARD, Position, Sampler, binary_steps, compose, lattice, lines

__all__ = [
    "COMPLEMENTARY",
    "METHODS",
    "STANDARD",
    "Assignment",
    "Path",
    "Position",
    "Sampler",
    "Sampling",
    "diagonal",
]

Assignment = tuple[Sampler, ...]
"""One sampler for each incoming submap, or a single one for all of them."""
Path = tuple[int, ...]
"""Strides of the multisampling steps from the input up to a layer, its own last: the layer's level."""

METHODS = {
    "traditional": "one of k² positions, the top left: the plain network, for controls",
    "naive": "the diagonal on every submap; the paper's CIFAR experiments",
    "lattice": "samplers chosen so that the samples of all submaps are spread evenly",
    "random": "samplers drawn in every training step; `evaluation` says what is used otherwise",
    "stochastic": "one position drawn in every training step, at a plain network's cost; then `evaluation`",
    "three_quarters": "top left, bottom right, top right",
    "complete": "all k² positions: no information is lost, as with dilation",
    "custom": "`samplers` and `sequence` as given",
}
"""The methods that have a name here; a subclass of `Sampling` adds one without being listed."""

_DRAWING = ("random", "stochastic")
_TRADITIONAL: Sampler = ((0, 0),)
_THREE_QUARTERS: Sampler = ((0, 0), (1, 1), (0, 1))
_COMPLETE: Sampler = ((0, 0), (1, 0), (0, 1), (1, 1))


def diagonal(stride: int) -> Sampler:
    """The main diagonal of a stride×stride window: STANDARD for stride 2, n-rooks for any stride.

    >>> diagonal(3)
    ((0, 0), (1, 1), (2, 2))
    """
    return tuple((i, i) for i in range(stride))


@dataclass(frozen=True)
class Sampling:
    """A sampling method and where in a network it applies.

    A method of your own is a subclass that overrides `choose`, and has a name that no other method has. It is
    accepted wherever a method is (`ccnn.convert`, or `_target_` of a file in conf/sampling/) and reported by its
    name and arguments:

    >>> class UpperCorners(Sampling):
    ...     def choose(self, strides):
    ...         return (((0, 0), (0, strides[-1] - 1)),)
    >>> print(UpperCorners("upper_corners", skip_first=1))
    upper_corners skip_first=1
    >>> UpperCorners("upper_corners").assignment([2])
    (((0, 0), (0, 1)),)

    A subclass that overrides `draw` as well draws in training, and uses `choose` in evaluation.

    Args:
        name: one of `METHODS`, or a subclass's own.
        skip_first: number of levels that stay traditional, from the input on; they cost most.
        only: globs of layer names (`layer3.*`); no other layer is converted. Empty: all are.
        skip: globs of layer names that stay traditional.
        border: what a shifted grid of windows finds beyond the bottom and the right edge of the padded input:
            `zeros` (the paper's), or `replicate`: copies of the last row and column of the image before padding.
            It makes a difference only if a grid reaches that far, as poolings without padding and 1×1 kernels do
            at odd sizes.
        evaluation: the method in evaluation of `random` and `stochastic`: any that does not draw, and
            `traditional` for `stochastic` alone.
        samplers: for `custom`, k×k matrices of 0 and 1, all with equally many ones.
        sequence: for `custom`, for each level an index into `samplers` per incoming submap, or a single
            one for all of them. The last level's, if single, holds for all further ones.

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
        if not self._own:
            _check_choice("name", self.name, METHODS)
        elif self.name in METHODS:
            raise ValueError(
                f"sampling.name: {self.name!r} is a method of ccnn's; give {type(self).__name__} another name"
            )
        _check_choice("border", self.border, ("zeros", "replicate"))
        never = _DRAWING if self.name == "stochastic" else (*_DRAWING, "traditional")
        _check_choice("evaluation", self.evaluation, [m for m in METHODS if m not in never])
        if type(self.skip_first) is not int or self.skip_first < 0:
            raise ValueError(f"sampling.skip_first: expected 0 or more levels, got {self.skip_first!r}")
        for key in ("only", "skip"):
            globs = getattr(self, key)
            globs = (globs,) if isinstance(globs, str) else globs
            if not isinstance(globs, Sequence) or not all(isinstance(glob, str) for glob in globs):
                raise ValueError(
                    f"sampling.{key}: expected globs of layer names, such as ['layer1.*'], got {globs!r}"
                )
            object.__setattr__(self, key, tuple(globs))
        object.__setattr__(self, "samplers", nested_tuples("samplers", self.samplers, 3))
        object.__setattr__(self, "sequence", nested_tuples("sequence", self.sequence, 2))
        uses_custom = "custom" in (self.name, self._method)
        if uses_custom != bool(self.samplers):
            raise ValueError(
                "sampling.samplers: name=custom needs k×k matrices of 0 and 1, such as [[[1, 0], [0, 1]]]"
                if uses_custom
                else f"sampling.samplers: only name=custom takes samplers, got name={self.name!r}"
            )
        object.__setattr__(self, "_custom", samplers_of(self.samplers))
        if uses_custom:
            check_sequence(self.sequence, len(self._custom))

    def __str__(self) -> str:
        """The name, then all settings that are not the defaults."""
        settings = {
            f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.init and f.name != "name"
        }
        changed = [f"{key}={value}" for key, (value, default) in settings.items() if value != default]
        return " ".join([self.name, *changed])

    @property
    def _own(self) -> bool:
        """Whether a subclass chooses the samplers."""
        return type(self).choose is not Sampling.choose

    @property
    def _method(self) -> str:
        """The name of the method in evaluation."""
        return self.evaluation if self.draws and not self._own else self.name

    @property
    def draws(self) -> bool:
        """Whether training draws samplers at random."""
        return self.name in _DRAWING or type(self).draw is not Sampling.draw

    def in_evaluation(self) -> "Sampling":
        """The method that evaluation uses: this one, or `evaluation` for `random` and `stochastic`.

        >>> print(Sampling("random", skip_first=1).in_evaluation())
        lattice skip_first=1
        """
        if self._method == self.name:
            return self
        settings = {f.name: getattr(self, f.name) for f in fields(Sampling) if f.init}
        return Sampling(**(settings | {"name": self._method}))

    def refuses(self, stride: int) -> str | None:
        """Why layers of this stride stay traditional, or None."""
        if self._method == "three_quarters" and stride & (stride - 1):
            return f"three_quarters is for strides that are powers of two, not {stride}"
        if self._method == "custom" and stride != len(self.samplers[0]):
            return f"the custom samplers are for stride {len(self.samplers[0])}, not {stride}"
        return None

    def kept(self, stride: int) -> int:
        """Number of positions of a stride×stride window that are kept in evaluation."""
        return len(self.assignment((stride,))[0])

    def assignment(self, strides: Sequence[int]) -> Assignment:
        """The samplers in evaluation of the layer that is reached through the given strides.

        Args:
            strides: of the multisampling steps on the way from the input, the layer's own last.

        Returns:
            One sampler per incoming submap; a single one where every submap has the same.

        Raises:
            ValueError: if a custom sequence does not fit the network, or a subclass chooses something else
                than samplers.

        Example:
            >>> Sampling("lattice").assignment([2, 2])
            (((0, 0), (1, 1)), ((0, 0), (1, 1)))
        """
        samplers = self.choose(strides)
        if self._own:
            _check_chosen(self, samplers, strides[-1])
        return samplers

    def choose(self, strides: Sequence[int]) -> Assignment:
        """What `assignment` returns. Subclasses override it."""
        stride = strides[-1]
        match self._method:
            case "traditional":
                return (_TRADITIONAL,)
            case "naive":
                return (diagonal(stride),)
            case "lattice":
                return lattice(tuple(strides))
            case "three_quarters":
                return (compose([_THREE_QUARTERS] * len(binary_steps((stride,)))),)
            case "complete":
                if not stride & (stride - 1):  # as steps of 2, so that branches of strides 4 and 2·2 are aligned
                    return (compose([_COMPLETE] * len(binary_steps((stride,)))),)
                return (tuple((dy, dx) for dx in range(stride) for dy in range(stride)),)
            case _:
                return self._sequence(strides)

    def draw(self, strides: Sequence[int], random: Random) -> Assignment:
        """The samplers in one step of training, as `assignment`, for strides that are no powers of two but 2."""
        stride = strides[-1]
        if self.name == "stochastic":
            return (((random.randrange(stride), random.randrange(stride)),),)
        rooks = (STANDARD, COMPLEMENTARY) if stride == 2 else lines(stride)
        return tuple(random.choice(rooks) for _ in range(prod(strides[:-1])))

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


def resolve(sampling: str | Sampling) -> Sampling:
    """A sampling method by its name, or as it is.

    >>> resolve("lattice") == Sampling("lattice")
    True
    """
    if isinstance(sampling, str):
        return Sampling(sampling)
    if isinstance(sampling, Sampling):
        return sampling
    raise TypeError(f"sampling: expected a method's name or a ccnn.Sampling, got {sampling!r}")


def _check_choice(key: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"sampling.{key}: got {value!r}, expected one of {', '.join(known)}.{hint}")


def _check_chosen(sampling: Sampling, samplers: Assignment, stride: int) -> None:
    """Raises unless the samplers keep different positions of a window, as many as each other."""
    window = [(dy, dx) for dy in range(stride) for dx in range(stride)]
    for kept in samplers or ((),):
        if not kept or len(set(kept)) < len(kept) or len(kept) != len(samplers[0]) or set(kept) - set(window):
            raise ValueError(
                f"sampling: {type(sampling).__name__}.choose must return samplers of equally many, different "
                f"positions (dy, dx) of a {stride}×{stride} window, got {samplers!r}"
            )
