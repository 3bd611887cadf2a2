"""The samplers that a user writes as matrices, for `sampling=custom`."""

from collections.abc import Sequence
from typing import Any

from .lattice import Sampler

_SHAPES = {
    "samplers": "a list of matrices of 0 and 1 is needed, such as [[[1, 0], [0, 1]]]",
    "sequence": "a list of indices for each level is needed, such as [[0], [0, 1]]",
}


def nested_tuples(key: str, value: Any, depth: int, place: str = "") -> Any:
    """Nested lists as nested tuples.

    Raises:
        ValueError: for lists that are not `depth` deep.
    """
    if not depth:
        return value
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"sampling.{key}{place}: expected a list, got {value!r}; {_SHAPES[key]}")
    return tuple(nested_tuples(key, part, depth - 1, f"{place}[{i}]") for i, part in enumerate(value))


def samplers_of(matrices: Sequence[Sequence[Sequence[int]]]) -> tuple[Sampler, ...]:
    """The positions of the ones of each matrix, row by row.

    Raises:
        ValueError: for matrices that are not square, not of 0 and 1, empty, or unlike the first.

    >>> samplers_of([[[1, 0], [0, 1]]])
    (((0, 0), (1, 1)),)
    """
    samplers: list[Sampler] = []
    for index, matrix in enumerate(matrices):
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
        samplers.append(kept)
        side, ones = len(matrices[0]), len(samplers[0])
        if (len(matrix), len(kept)) != (side, ones):
            raise ValueError(
                f"{place}: expected as large a matrix with as many ones as samplers[0] "
                f"({side}×{side}, {ones} ones), got {len(matrix)} and {len(kept)}"
            )
    return tuple(samplers)


def check_sequence(sequence: Sequence[Sequence[int]], samplers: int) -> None:
    """Raises a ValueError unless a sequence has for each level indices of so many samplers."""
    if not sequence or not all(sequence):
        raise ValueError("sampling.sequence: expected a list of indices for each level, got an empty one")
    for level, indices in enumerate(sequence):
        for place, index in enumerate(indices):
            if not 0 <= index < samplers:
                raise ValueError(
                    f"sampling.sequence[{level}][{place}]: expected the index of a sampler, "
                    f"0 to {samplers - 1}, got {index}"
                )
