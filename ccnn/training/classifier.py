"""The LightningModule that trains and scores an image classifier."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.classification import MulticlassAccuracy

from ccnn.errors import UserError
from ccnn.runs.csv_log import flush, written
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
    `train/loss_step`, and the learning rate as `lr`. What an epoch of training gives is on the disk before its
    checkpoint is, so that the curves of a run that is killed and goes on have no gaps.

    Args:
        model: maps images (N, C, H, W) to scores (N, num_classes).
        optimizer: builds the optimizer of given parameters.
        scheduler: builds the schedule of a given optimizer; stepped once per epoch.
        num_classes: of the data set.
        seed: of all that is random within a training step: dropout and the draws of random samplers.
        hyperparameters: plain values kept in the checkpoints for whoever loads them.
        channels_last: gives the network images whose channels are next to each other in memory.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        num_classes: int,
        seed: int,
        hyperparameters: Mapping[str, Any],
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(hyperparameters), logger=False)
        self.model = model
        self.seed = seed
        self.started = perf_counter()
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.val_error = ErrorRate(num_classes)
        self.test_error = ErrorRate(num_classes)
        self._sums: Tensor | None = None  # of this epoch: wrong images, loss, images
        self._restored: dict[str, Any] = {}
        self._seconds_before = 0.0
        self._lr = 0.0
        self._loss: Tensor | None = None
        self._validated: Tensor | None = None  # the sum of the losses of the last validation

    def forward(self, images: Tensor) -> Tensor:
        """Returns the scores (N, num_classes) of images (N, C, H, W)."""
        scores: Tensor = self.model(images)
        return scores

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds optimizer and schedule for Lightning."""
        optimizer = self._optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._scheduler(optimizer)}}

    def training_seconds(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self._seconds_before + perf_counter() - self.started

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes what is random in this batch depend on nothing but seed, batch and rank.

        Before the first batch of an epoch, or of a run that goes on in mid-epoch, begins to count or goes on.
        """
        if self._sums is None:
            self._sums = self._restored.pop("sums", torch.zeros(3)).to(self.device)
            self._lr = self.trainer.optimizers[0].param_groups[0]["lr"]  # the schedule moves before the epoch ends
        progress: Any = (
            self.trainer.fit_loop.epoch_loop.batch_progress.total
        )  # in batches: several may make a step
        torch.manual_seed(derive_seed("step", self.seed, progress.processed, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of one batch; stops the training if it is not finite.

        Looking at the loss makes a GPU wait, so it happens in those steps only that log it.
        """
        loss, scores = self._score(batch)
        with torch.no_grad():
            wrong = (scores.argmax(1) != batch[1]).sum()
            assert self._sums is not None
            self._sums += torch.stack([wrong, loss.detach() * len(scores), wrong.new_tensor(len(scores))])
        self._loss = loss.detach()
        step, interval = self.global_step, self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        logs = (step + 1) % interval == 0
        if logs or loss.device.type == "cpu":
            self._require_finite_loss()
        if logs:  # by ourselves: Lightning would do so after the checkpoint of an interrupted run
            for logger in self.trainer.loggers:
                row = {"train/loss_step": self._loss.item(), "epoch": self.current_epoch}
                logger.log_metrics(row, step=step)
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the epoch and has it written; stops if the training has diverged."""
        self._require_finite_loss()
        self._require_finite_weights()
        sums, self._sums = self._sums, None
        assert sums is not None
        wrong, loss, images = self.trainer.strategy.reduce(sums, reduce_op="sum")
        values = {
            "train/error": 100 * wrong / images,
            "train/loss": loss / images,
            "lr": torch.tensor(float(self._lr)),
        }
        self.log_dict(values, logger=False, sync_dist=False)
        known = self.trainer.callback_metrics
        values |= {name: known[name] for name in known if name.startswith("system/")}
        row = {name: float(value) for name, value in values.items()} | {"epoch": self.current_epoch}
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=self.global_step - 1)
        flush(self.trainer.loggers)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes what belongs to these weights: validation error, curves, what an unfinished epoch has counted.

        Weights of a training that has diverged are not saved.
        """
        self._require_finite_weights()
        flush(self.trainer.loggers)
        error = self.trainer.callback_metrics.get("val/error")
        checkpoint["val_error"] = None if error is None else float(error)
        checkpoint["training_seconds"] = self.training_seconds()
        checkpoint["processes"] = self.trainer.world_size
        checkpoint["metrics_csv"] = written(self.trainer.loggers)
        if self._sums is not None and self.trainer.training:
            # A row for each process: the checkpoint is written by the first alone.
            sums: Any = self.all_gather(self._sums)
            checkpoint["sums"] = sums.reshape(-1, 3).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on from there."""
        self._seconds_before = checkpoint.get("training_seconds", 0.0)
        sums = checkpoint.get("sums")
        self._restored = {} if sums is None else {"sums": sums.reshape(-1, 3)[self.trainer.global_rank]}

    def on_validation_epoch_start(self) -> None:
        """Forgets the validation before."""
        self._validated = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores one batch of the validation split."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Scores one batch of the test set; returns the scores (N, num_classes) for callbacks to look at."""
        return self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        loss, scores = self._score(batch)
        error: ErrorRate = getattr(self, f"{stage}_error")
        error(scores, batch[1])
        size = len(scores)
        if stage == "val":
            self._validated = loss.detach() if self._validated is None else self._validated + loss.detach()
        self.log(f"{stage}/error", error, on_step=False, on_epoch=True, batch_size=size)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return scores

    def _score(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss and the scores."""
        images, labels = batch
        # trainer.precision=64-true and the like change the weights' type.
        scores = self(images.to(self.dtype, memory_format=self._format))
        return F.cross_entropy(scores, labels), scores.detach()

    def _require_finite_loss(self) -> None:
        if self._loss is not None:
            self._require(
                bool(self._loss.isfinite()), f"the loss is {self._loss.item()} at step {self.global_step}"
            )

    def _require_finite_weights(self) -> None:
        """Looks at what the last step has made of the weights, which no loss of the training tells."""
        values = [parameter.detach().isfinite().all() for parameter in self.model.parameters()]
        values += [] if self._validated is None else [self._validated.isfinite()]
        weights = bool(torch.stack(values).all()) if values else True
        self._require(weights, f"weights or validation loss are not finite after step {self.global_step}")

    def _require(self, good: bool, what: str) -> None:
        # All processes stop, or those that are left would wait for the others.
        if self.trainer.strategy.reduce_boolean_decision(good, all=True):
            return
        paths = [c.last_model_path or c.best_model_path for c in self._checkpoints()]
        last = next((path for path in paths if path and Path(path).exists()), None)
        precision = "" if str(self.trainer.precision).startswith("32") else ", or try trainer.precision=32-true"
        error = UserError(
            f"Training diverged: {what}, in epoch {self.current_epoch + 1}. Lower the learning rate "
            f"(optimizer.lr=…){precision}. "
            + (f"The last good checkpoint is {last}." if last else "There is no good checkpoint yet.")
        )
        error.told = not self.trainer.is_global_zero  # type: ignore[attr-defined]  # the first process tells it
        raise error

    def _checkpoints(self) -> list[ModelCheckpoint]:
        """The callbacks that save, the one that saves every epoch first."""
        found = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        return sorted(found, key=lambda callback: callback.monitor is not None)
