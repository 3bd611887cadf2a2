"""What a network whose samplers are drawn at random in training uses in the current forward pass."""

from inspect import signature
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .lattice import binary_steps, compose_each
from .samplers import Assignment, Sampling

Path = tuple[int, ...]
"""Strides of the multisampling steps from the input up to a layer, its own last: the layer's level."""

_EAGER: dict[str, Any] = {"reason": "sampling=random and stochastic draw anew in every step of training"}
if "reason" not in signature(torch.compiler.disable).parameters:  # torch 2.6
    _EAGER = {}


class Draws:
    """The state that all layers of a network share; a forward pre-hook of the network renews it.

    All draws of a forward pass come from one number of torch's generator, before anything else runs: so
    layers of one level agree, and gradient checkpointing finds the same draws when it runs a part again.
    A stride of 4 is drawn as two steps of 2, so that it agrees with a branch that has these.

    Attributes:
        current: the assignment of each level, None outside of a pass in training.
        last: what the last pass in training used.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.paths: set[Path] = set()
        self.current: dict[Path, Assignment] | None = None
        self.last: dict[Path, Assignment] | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if getattr(module, "_is_replica", False):
            raise RuntimeError(
                f"sampling={self.sampling.name!r}: nn.DataParallel runs copies of the network in threads that "
                "would share their draws; use DistributedDataParallel, a process for each device"
            )
        if module.training:
            self._draw()
        else:
            self.current = None

    def end(self) -> None:
        """Ends a pass: from now on layers sample as in evaluation, called by themselves or not."""
        self.current = None

    @torch.compiler.disable(**_EAGER)  # type: ignore[untyped-decorator]
    def remember(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A forward hook that ends the pass; before backward enters it, its draws are current again.

        Gradient checkpointing runs parts of the pass again then, and others may have been drawn meanwhile.
        """
        drawn, self.current = self.current, None
        self.last = drawn or self.last

        def restore(grad: Tensor) -> None:
            self.current = drawn
            torch.autograd.Variable._execution_engine.queue_callback(self.end)  # when backward is through

        for leaf in pytree.tree_leaves(output):
            if drawn is not None and isinstance(leaf, Tensor) and leaf.requires_grad:
                leaf.register_hook(restore)

    @torch.compiler.disable(**_EAGER)  # type: ignore[untyped-decorator]
    def _draw(self) -> None:
        random = Random(int(torch.randint(2**62, (), device="cpu")))
        steps: dict[Path, Assignment] = {}
        self.current = {}
        for path in sorted(self.paths):
            before, own = binary_steps(path[:-1]), binary_steps(path[-1:])
            through = [before + own[: i + 1] for i in range(len(own))]
            for step in through:
                if step not in steps:
                    steps[step] = self.sampling.draw(step, random)
            self.current[path] = compose_each([steps[step] for step in through])


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
