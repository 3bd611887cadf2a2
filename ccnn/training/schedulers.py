"""Learning rate schedules over the length of the training, stepped once per epoch or once per optimizer step."""

import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

from ccnn.errors import UserError


def multistep(optimizer: Optimizer, max_epochs: int, fractions: Sequence[float], gamma: float) -> LRScheduler:
    """Multiplies the learning rate by `gamma` at given fractions of the training (the paper: ½ and ¾).

    Args:
        optimizer: whose learning rate is set.
        max_epochs: length of the training, in epochs.
        fractions: when the rate falls, each in (0, 1); rounded up to whole epochs.
        gamma: factor at each of them.

    Raises:
        UserError: a fraction is not between 0 and 1.
    """
    if not all(0 < fraction < 1 for fraction in fractions):
        raise UserError(f"scheduler.fractions: expected numbers between 0 and 1, got {list(fractions)}.")
    milestones = [math.ceil(fraction * max_epochs - 1e-9) for fraction in fractions]
    return MultiStepLR(optimizer, milestones, gamma)


def cosine(optimizer: Optimizer, max_epochs: int, final: float) -> LRScheduler:
    """Lowers the learning rate along half a cosine to `final` times its first value, epoch by epoch."""
    first: float = optimizer.param_groups[0]["lr"]
    return CosineAnnealingLR(optimizer, T_max=max_epochs, eta_min=final * first)


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float, final: float) -> LRScheduler:
    """Raises the learning rate linearly to the optimizer's, then lowers it along half a cosine, step by step.

    Args:
        optimizer: whose learning rate is set.
        total_steps: length of the training, in optimizer steps.
        warmup: the part of the training in which the rate rises, in [0, 1).
        final: learning rate at the end, as a fraction of the highest.

    Raises:
        UserError: `warmup` is not in [0, 1).

    Example:
        >>> from torch import nn, optim
        >>> schedule = warmup_cosine(optim.SGD([nn.Parameter()], lr=1.0), total_steps=8, warmup=0.5, final=0.0)
        >>> [round(schedule.lr_lambdas[0](step), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if not 0 <= warmup < 1:
        raise UserError(f"scheduler.warmup: expected a number in [0, 1), got {warmup}.")
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        progress = min(1.0, (step - rising) / max(1, total_steps - rising))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer) -> LRScheduler:
    """Leaves the learning rate as it is."""
    return LambdaLR(optimizer, lambda epoch: 1.0)
