"""What a network whose samplers are drawn at random in training uses in the current forward pass."""

from random import Random
from typing import Any

import torch
from torch import nn

from ccnn.samplers import Assignment, Sampling

Path = tuple[int, ...]
"""Strides of the multisampling steps from the input up to a layer, its own last: the layer's level."""


class Draws:
    """The state that all layers of a network share; a forward pre-hook of the network renews it.

    All draws of a forward pass come from one number of torch's generator, before anything else runs: so
    layers of one level agree, and gradient checkpointing finds the same draws when it runs a part again.

    Attributes:
        current: the assignment of each level, None outside of training.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.paths: set[Path] = set()
        self.current: dict[Path, Assignment] | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module.training:
            self._draw()
        else:
            self.current = None

    @torch.compiler.disable(reason="sampling=random and stochastic draw anew in every step of training")  # type: ignore[untyped-decorator]
    def _draw(self) -> None:
        random = Random(int(torch.randint(2**62, (), device="cpu")))
        self.current = {path: self.sampling.draw(path, random) for path in sorted(self.paths)}


class Folded:
    """Whatever needs to know the number of submaps that reach it.

    Attributes:
        submaps: that number; in evaluation, if `draws` is set.
        submaps_training: the same in training.
        draws: the network's draws, for methods that draw in training.
    """

    submaps: int
    submaps_training: int
    draws: Draws | None = None

    @property
    def submaps_now(self) -> int:
        """The number of submaps in this forward pass."""
        return self.submaps if self.draws is None or self.draws.current is None else self.submaps_training
