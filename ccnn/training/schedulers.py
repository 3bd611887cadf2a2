"""Learning rate schedules that are given the length of the training in epochs, stepped once per epoch."""

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
        fractions: where the steps are, each in (0, 1); rounded up to whole epochs.
        gamma: factor at each step.

    Raises:
        UserError: a fraction is not between 0 and 1.
    """
    if not all(0 < fraction < 1 for fraction in fractions):
        raise UserError(f"scheduler.fractions: expected numbers between 0 and 1, got {list(fractions)}.")
    milestones = [math.ceil(fraction * max_epochs - 1e-9) for fraction in fractions]
    return MultiStepLR(optimizer, milestones, gamma)


def cosine(optimizer: Optimizer, max_epochs: int, final: float) -> LRScheduler:
    """Lowers the learning rate along half a cosine to `final` times its first value."""
    first: float = optimizer.param_groups[0]["lr"]
    return CosineAnnealingLR(optimizer, T_max=max_epochs, eta_min=final * first)


def constant(optimizer: Optimizer) -> LRScheduler:
    """Leaves the learning rate as it is."""
    return LambdaLR(optimizer, lambda epoch: 1.0)
