"""Learning rate schedules over whole trainings."""

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from ccnn.errors import UserError
from ccnn.training.schedulers import constant, cosine, multistep


def optimizer() -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


def rates(scheduler: LRScheduler, epochs: int) -> list[float]:
    """The learning rate of each epoch."""
    seen = []
    for _ in range(epochs):
        seen.append(float(scheduler.get_last_lr()[0]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_multistep_falls_at_half_and_three_quarters() -> None:
    seen = rates(multistep(optimizer(), 300, [0.5, 0.75], 0.1), 300)
    assert seen == pytest.approx([0.1] * 150 + [0.01] * 75 + [0.001] * 75)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_multistep_trains_at_full_rate_first_however_short(epochs: int) -> None:
    assert rates(multistep(optimizer(), epochs, [0.5, 0.75], 0.1), epochs)[0] == 0.1


def test_multistep_refuses_fractions_outside_of_the_training() -> None:
    with pytest.raises(UserError, match=r"scheduler\.fractions.*1\.5"):
        multistep(optimizer(), 10, [0.5, 1.5], 0.1)


def test_cosine_goes_from_the_first_rate_to_the_final_one() -> None:
    seen = rates(cosine(optimizer(), 10, final=0.1), 11)
    assert seen[0] == pytest.approx(0.1)
    assert seen[5] == pytest.approx(0.055)
    assert seen[10] == pytest.approx(0.01)
    assert seen == sorted(seen, reverse=True)


def test_constant_stays() -> None:
    assert rates(constant(optimizer()), 5) == [0.1] * 5
