"""Random samplers: drawn once for each training pass of a network, and shared by its layers."""

import weakref
from dataclasses import replace
from inspect import signature
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .lattice import binary_steps, compose_each
from .samplers import Assignment, Path, Sampling

if TYPE_CHECKING:
    from .base import Operation, Placement

# Samplers are constants of a compiled graph: a graph for each draw would be compiled until torch gives up.
_EAGER: dict[str, Any] = {"reason": "sampling=random and stochastic draw new samplers in every training step"}
if "reason" not in signature(torch.compiler.disable).parameters:  # torch 2.6
    _EAGER = {}


class Draws:
    """The samplers drawn for a network, which all its layers share.

    Each call of the network in training draws them once, from one number of torch's generator, before anything
    else runs: layers of one level agree, and a seed decides all. A stride of 4 is drawn as two steps of 2, so that
    it agrees with a branch that has these.

    In training, parts that are called by themselves (`forward_features`, a block) use the draws of the network's
    latest call; parts that gradient checkpointing runs again, those of the call whose backward runs. Evaluation
    uses none. Training one network in several threads at once is not supported.

    Attributes:
        current: the assignment of each level; None before the first draw.
    """

    def __init__(self, sampling: Sampling, paths: set[Path] | None = None) -> None:
        self.sampling = sampling
        self.paths = paths or set()
        self.current: dict[Path, Assignment] | None = None
        self._root: weakref.ref[nn.Module] | None = None
        self._entered = False

    def attach(self, model: nn.Module) -> None:
        """Makes each call of the model in training draw."""
        self._root, self._entered, self.current = weakref.ref(model), False, None
        model.register_forward_pre_hook(self, prepend=True)
        model.register_forward_hook(self.remember)

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module.training:
            self._begin(module)

    def active(self, training: bool) -> bool:
        """Whether a layer uses the draws now.

        Args:
            training: the layer's mode. Within a pass of the network and its backward, the network's mode decides:
                a frozen block, in evaluation, must use the draws as well, or its submaps would not fit the others.
        """
        # No public hook marks the end of a backward, so `_entered` stays set until the next forward ends. Only a
        # frozen layer called by itself while the network is in training can notice.
        root = None if self._root is None else self._root()
        return training if root is None else root.training and (training or self._entered)

    @torch.compiler.disable(**_EAGER)  # type: ignore[untyped-decorator]
    def run(self, operation: "Operation", x: Tensor, placement: "Placement") -> Tensor:
        """Runs a layer's operation with the samplers drawn for it."""
        samplers = self._drawn().get(placement.path, placement.samplers)
        return operation(x, replace(placement, submaps=placement.in_training, samplers=samplers))

    @torch.compiler.disable(**_EAGER)  # type: ignore[untyped-decorator]
    def _begin(self, module: nn.Module) -> None:
        if getattr(module, "_is_replica", False):
            raise RuntimeError(
                f"sampling={self.sampling.name!r}: nn.DataParallel runs copies of the network in threads that "
                "would share their draws; use DistributedDataParallel, a process for each device"
            )
        self._root = weakref.ref(module)
        self._entered = True
        self.current = None
        self._drawn()

    def remember(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook: before backward enters the outputs of this call, its draws are current again.

        Gradient checkpointing runs parts of the call again then, and other calls may have drawn meanwhile.
        """
        if module.training:
            self._end(output)

    @torch.compiler.disable(**_EAGER)  # type: ignore[untyped-decorator]
    def _end(self, output: Any) -> None:
        self._entered = False
        drawn = self.current

        def restore(grad: Tensor) -> None:
            self.current, self._entered = drawn, True

        for leaf in pytree.tree_leaves(output):
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                leaf.register_hook(restore)

    def _drawn(self) -> dict[Path, Assignment]:
        if self.current is None:
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
        return self.current

    def __getstate__(self) -> dict[str, Any]:
        # A weak reference can neither be pickled nor copied: a copy of the network learns its root when called.
        return vars(self) | {"_root": None, "_entered": False}
