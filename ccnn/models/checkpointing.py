"""Gradient checkpointing: a network's stages keep their input alone and run again in backward."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def checkpoint_stages(model: nn.Module) -> list[str]:
    """Makes the stages of a network forget their activations in training and compute them again in backward.

    Takes less memory and about a third more time; loss, gradients, the statistics of batch norm, parameters and
    their names stay the same. Convert a network before, not after.

    Args:
        model: with an nn.Sequential called `stages`, as all networks of this package, or with several
            nn.Sequentials of blocks, as torchvision's ResNets.

    Returns:
        The names of the stages.

    Raises:
        ValueError: if the network has neither.

    Example:
        >>> import torchvision
        >>> checkpoint_stages(torchvision.models.resnet18())
        ['layer1', 'layer2', 'layer3', 'layer4']
    """
    stages = dict(_stages(model))
    if len(stages) < 2:
        raise ValueError(
            f"{type(model).__name__} has no stages to checkpoint: expected an nn.Sequential called `stages`, or "
            "several nn.Sequentials of blocks"
        )
    for stage in stages.values():
        stage.forward = _Checkpointed(stage)
    return list(stages)


def _stages(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if name == "stages":
            yield from ((f"stages.{inner}", stage) for inner, stage in child.named_children())
        elif isinstance(child, nn.Sequential) and any(list(block.children()) for block in child):
            yield name, child


class _Checkpointed:
    """The forward of a stage; an object, so that the network can still be copied and pickled."""

    def __init__(self, stage: nn.Module) -> None:
        self.stage = stage

    def __call__(self, *args: Any) -> Any:
        forward: Callable[..., Any] = type(self.stage).forward.__get__(self.stage)
        if not (self.stage.training and torch.is_grad_enabled()):
            return forward(*args)
        if torch.compiler.is_compiling():  # what a compiled graph computes again changes no statistics
            return checkpoint(forward, *args, use_reentrant=False)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _without_statistics(self.stage)


@contextmanager
def _without_statistics(stage: nn.Module) -> Iterator[None]:
    """Normalisation computes as in training but does not count the batch in its running statistics again."""
    norms = [m for m in stage.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
