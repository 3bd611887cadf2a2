"""The lattice sequence: samplers chosen step by step so that the samples of all submaps lie far apart.

All cells look the same, so distances are measured on the torus of one cell, whose side is the product of the
strides so far. A step of stride 2 chooses between two samplers, and for two submaps it matters only whether they
choose the same one. "No two samples closer than d" is therefore a set of statements "these two are equal" or
"these two differ", which a union-find with parities decides, and the largest d is exact. Source: arXiv 1805.10766,
the section on sampling.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd, prod

Position = tuple[int, int]
Sampler = tuple[Position, ...]

STANDARD: Sampler = ((0, 0), (1, 1))
"""Sampler 0 of the paper: top-left and bottom-right."""
COMPLEMENTARY: Sampler = ((0, 1), (1, 0))
"""Sampler 1 of the paper: top-right and bottom-left."""

# The published choices of the first steps of stride 2: a sampler's index for each incoming submap. Each is among
# the best that follow the steps before it; taking the paper's choice keeps results comparable.
_PUBLISHED = ("0", "00", "0101", "01100011", "0010100101001010")


@lru_cache(maxsize=256)
def lattice(strides: tuple[int, ...]) -> tuple[Sampler, ...]:
    """The samplers of a layer, one for each incoming submap.

    A stride of 2ⁿ counts as n steps of stride 2, so all paths through a network that reach the same total stride
    have the same pattern.

    Args:
        strides: of the multisampling steps on the way from the input, the layer's own last.

    Example:
        >>> lattice((2, 2, 2))[1] == COMPLEMENTARY
        True
    """
    path = binary_steps(strides[:-1])
    steps: list[tuple[Sampler, ...]] = []
    for step in binary_steps(strides[-1:]):
        steps.append(_choose(path, step))
        path = (*path, step)
    return compose_each(steps)


def compose(steps: Sequence[Sampler]) -> Sampler:
    """The sampler of one window that keeps what a sequence of steps keeps, in the order of their submaps.

    >>> compose([STANDARD, STANDARD])
    ((0, 0), (1, 1), (2, 2), (3, 3))
    """
    return _compose([(step,) * prod(map(len, steps[:i])) for i, step in enumerate(steps)], 1, 0)


def compose_each(steps: Sequence[Sequence[Sampler]]) -> tuple[Sampler, ...]:
    """Like `compose`, but for each incoming submap; a step has one sampler per submap at its own input."""
    submaps = len(steps[0])
    return tuple(_compose(steps, submaps, submap) for submap in range(submaps))


def _compose(steps: Sequence[Sequence[Sampler]], submaps: int, submap: int) -> Sampler:
    """Like `compose_each`, but for one of the incoming submaps."""
    positions: list[Position] = [(0, 0)]
    scale = 1
    for samplers in steps:
        positions = [
            (
                y + scale * samplers[inner * submaps + submap][kept][0],
                x + scale * samplers[inner * submaps + submap][kept][1],
            )
            for kept in range(len(samplers[0]))
            for inner, (y, x) in enumerate(positions)
        ]
        scale *= 2
    return tuple(positions)


def binary_steps(strides: Sequence[int]) -> tuple[int, ...]:
    """The strides, each 2ⁿ replaced by n steps of 2.

    >>> binary_steps([4, 3, 2])
    (2, 2, 3, 2)
    """
    return tuple(
        step
        for stride in strides
        for step in ((stride,) if stride & (stride - 1) else (2,) * (stride.bit_length() - 1))
    )


@lru_cache(maxsize=256)
def _pattern(path: tuple[int, ...]) -> tuple[Position, ...]:
    """Where all samples lie in the cell that a path's steps make."""
    if not path:
        return ((0, 0),)
    before, step = path[:-1], path[-1]
    scale, chosen = prod(before), _choose(before, step)
    return tuple(
        (y + scale * sampler[kept][0], x + scale * sampler[kept][1])
        for kept in range(step)
        for (y, x), sampler in zip(_pattern(before), chosen, strict=True)
    )


def _choose(path: tuple[int, ...], step: int) -> tuple[Sampler, ...]:
    """A sampler for each sample of a path's pattern, for the next step."""
    if step != 2:
        return _spread(_pattern(path), prod(path), step)
    if len(path) < len(_PUBLISHED) and set(path) <= {2}:
        choices: Sequence[int] = [int(index) for index in _PUBLISHED[len(path)]]
    else:
        choices = _farthest(_pattern(path), prod(path))
    return tuple((STANDARD, COMPLEMENTARY)[index] for index in choices)


def _farthest(pattern: Sequence[Position], side: int) -> list[int]:
    """The choice between the two samplers of stride 2 with the largest minimum distance; the first of equals."""
    statements: dict[int, list[tuple[int, int, bool]]] = {}
    for second, (y2, x2) in enumerate(pattern):
        for first, (y1, x1) in enumerate(pattern[:second]):
            y, x = y2 - y1, x2 - x1
            equal = min(_distance(y, x, 2 * side), _distance(y + side, x + side, 2 * side))
            unequal = min(_distance(y + side, x, 2 * side), _distance(y, x + side, 2 * side))
            # Equal samplers would bring two samples this near, so for a larger distance they must differ.
            statements.setdefault(equal, []).append((first, second, True))
            statements.setdefault(unequal, []).append((first, second, False))
    choices = _Parities(len(pattern))
    for _, nearest in sorted(statements.items()):
        before = choices.copy()
        if not all(choices.add(first, second, differ) for first, second, differ in nearest):
            return before.values()
    return choices.values()


class _Parities:
    """A union-find over booleans: which are known to be equal, and which to differ."""

    def __init__(self, count: int) -> None:
        self.parent, self.differs = list(range(count)), [False] * count

    def copy(self) -> "_Parities":
        other = _Parities(0)
        other.parent, other.differs = self.parent.copy(), self.differs.copy()
        return other

    def find(self, item: int) -> tuple[int, bool]:
        """The root that an item is linked with, and whether the two differ."""
        differs = False
        while self.parent[item] != item:
            differs ^= self.differs[item]
            item = self.parent[item]
        return item, differs

    def add(self, first: int, second: int, differ: bool) -> bool:
        """Adds a statement and returns whether it agrees with the earlier ones."""
        (one, a), (two, b) = self.find(first), self.find(second)
        if one == two:
            return a ^ b == differ
        low, high = sorted((one, two))
        self.parent[high], self.differs[high] = low, a ^ b ^ differ
        return True

    def values(self) -> list[int]:
        """The lexicographically first values that satisfy all statements."""
        return [int(self.find(item)[1]) for item in range(len(self.parent))]


def lines(side: int) -> list[Sampler]:
    """The n-rooks samplers that are straight lines: row i keeps column a·i + b. For side 3 these are all six.

    >>> lines(2) == [STANDARD, COMPLEMENTARY]
    True
    """
    return [
        tuple((i, (a * i + b) % side) for i in range(side))
        for a in range(1, side)
        if gcd(a, side) == 1
        for b in range(side)
    ]


def _spread(pattern: Sequence[Position], side: int, step: int) -> tuple[Sampler, ...]:
    """Samplers for a stride that is no power of two, by coordinate descent: good, not proven best.

    Each submap in turn takes the line of samples that lies farthest from all others, until none can improve.
    """
    candidates = lines(step)
    chosen = [candidates[0]] * len(pattern)

    def crowding(index: int, line: Sampler) -> tuple[int, int]:
        """Negative distance to the nearest sample, and how many are that near."""
        y, x = pattern[index]
        near = [
            _distance(y + side * dy - v - side * ey, x + side * dx - u - side * ex, side * step)
            for dy, dx in line
            for other, (v, u) in enumerate(pattern)
            for ey, ex in (line if other == index else chosen[other])
            if other != index or (dy, dx) != (ey, ex)
        ]
        return -min(near), near.count(min(near))

    improved = True
    while improved:
        improved = False
        for index in range(len(pattern)):
            best = min(candidates, key=lambda line: crowding(index, line))
            if crowding(index, best) < crowding(index, chosen[index]):
                chosen[index], improved = best, True
    return tuple(chosen)


def _distance(y: int, x: int, side: int) -> int:
    """Squared distance on a torus."""
    y, x = y % side, x % side
    return min(y, side - y) ** 2 + min(x, side - x) ** 2
