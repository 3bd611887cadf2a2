"""The sampling methods that can be shown by name alone, and what they do at each step."""

from collections.abc import Sequence
from random import Random

from ccnn.multisampling.samplers import METHODS, Assignment, Sampling

N_ROOKS = "n_rooks"
"""A lattice of windows that are not two pixels wide: k samples, no two in a row or column of a k×k window."""

SHOWN = (*(method for method in METHODS if method != "custom"), N_ROOKS)
"""The sampling methods that can be shown by name alone."""


def steps_of(method: str, strides: Sequence[int], seed: int = 0) -> list[tuple[int, Assignment]]:
    """What a method does at each step; `random` and `stochastic` as in one step of training.

    Args:
        method: one of `SHOWN`.
        strides: of the steps.
        seed: of what is drawn.

    Raises:
        ValueError: for a stride that the method is not for.
    """
    sampling = Sampling("lattice" if method == N_ROOKS else method)
    random = Random(seed)
    steps = []
    for count, stride in enumerate(strides, start=1):
        if refusal := sampling.refuses(stride):
            raise ValueError(refusal)
        path = tuple(strides[:count])
        steps.append((stride, sampling.draw(path, random) if sampling.draws else sampling.assignment(path)))
    return steps
