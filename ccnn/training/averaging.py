"""Averages of the weights over a training, which are what is validated, saved and tested."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class ExponentialMovingAverage(WeightAveraging):
    """Keeps a moving average of weights and batch statistics, updated after every optimizer step.

    The decay rises with the number n of steps, min(decay, (1 + n) / (10 + n)), so that the random weights of the
    beginning are soon forgotten in a short training, too.

    Args:
        decay: the part of the average that a step keeps, in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor) -> Tensor:
            keep = ((1 + steps) / (10 + steps)).clamp(max=decay)  # a tensor: a GPU does not wait for its value
            return averaged * keep + current * (1 - keep)

        super().__init__(avg_fn=average)


class StochasticWeightAverage(WeightAveraging):
    """Averages the weights and batch statistics at the ends of the last epochs (arXiv 1803.05407).

    Before that, what is validated and saved are the weights themselves. Batch statistics are averaged like
    weights, which saves the pass over the training set that the paper takes to compute them again.

    Args:
        start: the part of the training after which the average begins, in [0, 1).
    """

    def __init__(self, start: float = 0.75) -> None:
        super().__init__()
        self._start = start

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates after the last batch of an epoch, so that the validation that follows sees the new average."""
        assert self._average_model is not None
        if not (trainer.is_last_batch or trainer.should_stop):
            return
        if trainer.current_epoch <= self._start * (trainer.max_epochs or 1):
            self._average_model.n_averaged.zero_()  # the next update copies the weights instead of averaging
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
