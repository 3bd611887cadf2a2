"""The LightningModule that trains and scores an image classifier."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.classification import MulticlassAccuracy

from ccnn.errors import UserError
from ccnn.seeds import derive_seed

Batch = tuple[Tensor, Tensor]

LOGGED = ("train/error", "train/loss", "val/error", "val/loss")
"""What is known at the end of an epoch, for callbacks to monitor."""


class ErrorRate(MulticlassAccuracy):
    """Wrongly classified images, in percent of all."""

    higher_is_better = False

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="micro")

    def compute(self) -> Tensor:
        """Returns the error over everything seen since the last reset."""
        return 100 * (1 - super().compute())


class Classifier(pl.LightningModule):
    """Trains a network with cross-entropy, and logs loss and error of every epoch.

    Logged are `train/…`, `val/…` and `test/…` of `error` (percent) and `loss`, the loss of single steps as
    `train/loss_step`, and the learning rate as `lr`.

    Args:
        model: maps images (N, C, H, W) to scores (N, num_classes).
        optimizer: builds the optimizer of given parameters.
        scheduler: builds the schedule of a given optimizer; stepped once per epoch.
        num_classes: of the data set.
        seed: of all that is random within a training step: dropout and the draws of random samplers.
        hyperparameters: plain values kept in the checkpoints for whoever loads them.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        num_classes: int,
        seed: int,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(hyperparameters), logger=False)
        self.model = model
        self.seed = seed
        self._optimizer = optimizer
        self._scheduler = scheduler
        self.train_error = ErrorRate(num_classes)
        self.val_error = ErrorRate(num_classes)
        self.test_error = ErrorRate(num_classes)
        self._loss: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Returns the scores (N, num_classes) of images (N, C, H, W)."""
        scores: Tensor = self.model(images)
        return scores

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds optimizer and schedule for Lightning."""
        optimizer = self._optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._scheduler(optimizer)}}

    def on_train_epoch_start(self) -> None:
        """Logs the learning rate of the epoch."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], rank_zero_only=True)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes what is random in this step depend on nothing but seed, step and rank."""
        torch.manual_seed(derive_seed("step", self.seed, self.global_step, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of one batch; stops the training if it is not finite.

        Looking at the loss makes a GPU wait, so it happens in those steps only that log it.
        """
        loss, _ = self._score("train", batch)
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)
        self._loss = loss.detach()
        interval: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if batch_idx % interval == 0 or loss.device.type == "cpu":
            self._require_finite_loss()
        return loss

    def on_train_epoch_end(self) -> None:
        """Looks at the last loss of the epoch, so that broken weights are never scored as a result."""
        self._require_finite_loss()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes the validation error that belongs to these weights."""
        error = self.trainer.callback_metrics.get("val/error")
        checkpoint["val_error"] = None if error is None else float(error)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores one batch of the validation split."""
        self._score("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Scores one batch of the test set; returns the scores (N, num_classes) for callbacks to look at."""
        return self._score("test", batch)[1]

    def _score(self, stage: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss and the scores."""
        images, labels = batch
        scores = self(images.to(self.dtype))  # trainer.precision=64-true and the like change the weights' type
        loss = F.cross_entropy(scores, labels)
        error: ErrorRate = getattr(self, f"{stage}_error")
        error(scores.detach(), labels)
        self.log(f"{stage}/error", error, on_step=False, on_epoch=True, batch_size=len(labels))
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss, scores.detach()

    def _require_finite_loss(self) -> None:
        if self._loss is not None and not self._loss.isfinite():
            raise UserError(
                f"Training diverged: the loss is {self._loss.item()} at step {self.global_step}, in epoch "
                f"{self.current_epoch + 1}. Lower the learning rate (optimizer.lr=…), or try "
                "trainer.precision=32-true."
            )
