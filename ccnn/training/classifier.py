"""The LightningModule that trains and scores an image classifier."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from ccnn.errors import UserError
from ccnn.runs.csv_log import flush, written
from ccnn.seeds import derive_seed

Batch = tuple[Tensor, Tensor]
Configure = Callable[[nn.Module], OptimizerLRScheduler]

LOGGED = ("train/error", "train/loss", "val/error", "val/loss")
"""What is known at the end of an epoch, for callbacks and schedules to monitor."""


class ErrorRate(MulticlassAccuracy):
    """Wrongly classified images, in percent of all."""

    higher_is_better = False

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="micro")

    def compute(self) -> Tensor:
        """Returns the error over everything seen since the last reset."""
        return 100 * (1 - super().compute())


class Classifier(pl.LightningModule):
    """Trains a network, and logs loss and error of every epoch.

    Logged are `train/…`, `val/…` and `test/…` of `error` (percent) and `loss`, the loss of single steps as
    `train/loss_step`, and the learning rate as `lr`. Validation and test report plain cross-entropy, whatever the
    training loss. The metrics of a training epoch are on the disk before its checkpoint is, so that the curves of
    a run that is killed and resumed have no gaps.

    Args:
        model: maps images (N, C, H, W) to scores (N, num_classes).
        configure: returns optimizer and schedule for the network, as Lightning wants them.
        num_classes: of the data set.
        seed: of everything random within a training step: dropout, mixup, the draws of random samplers.
        hyperparameters: plain values kept in the checkpoints for whoever loads them.
        loss: of scores (N, num_classes) and labels, (N,) or (N, num_classes) where images are mixed.
        mix: blends the images and the labels of a training batch.
        channels_last: gives the network images whose channels are next to each other in memory.
    """

    def __init__(
        self,
        model: nn.Module,
        configure: Configure,
        num_classes: int,
        seed: int,
        hyperparameters: Mapping[str, Any],
        loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
        mix: Callable[[Tensor, Tensor], Batch] | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(hyperparameters), logger=False)
        self.model = model
        self.seed = seed
        self.started = perf_counter()
        self.images_seen = 0  # in the training steps of all processes
        self.validated_epoch: int | None = None
        self._configure = configure
        self._loss_of, self._mix = loss, mix
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.val_error = ErrorRate(num_classes)
        self.test_error = ErrorRate(num_classes)
        self._sums: Tensor | None = None  # of this epoch: wrong images, loss, images
        self._restored: tuple[Tensor, float] | None = None
        self._seconds_before = 0.0
        self._lr = 0.0
        self._loss: Tensor | None = None
        self._validation_loss: Tensor | None = None  # summed over the batches of the last validation

    def forward(self, images: Tensor) -> Tensor:
        """Returns the scores (N, num_classes) of images (N, C, H, W)."""
        scores: Tensor = self.model(images)
        return scores

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds optimizer and schedule for Lightning."""
        return self._configure(self.model)

    def training_seconds(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self._seconds_before + perf_counter() - self.started

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes what is random in this batch depend on nothing but seed, batch and rank."""
        if self._sums is None:  # the first batch of an epoch, or of a run resumed in mid-epoch
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]  # the schedule moves before the epoch ends
            sums, self._lr = self._restored or (torch.zeros(3), rate)
            self._sums, self._restored = sums.to(self.device), None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total  # batches: several may make a step
        torch.manual_seed(derive_seed("step", self.seed, progress.processed, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of one batch; stops the training if it is not finite.

        Looking at the loss makes a GPU wait, so it happens only in the steps that log it.
        """
        trainer = self.trainer
        images, labels = batch if self._mix is None else self._mix(*batch)
        scores = self._scores(images)
        loss = self._loss_of(scores, labels)
        with torch.no_grad():
            wrong = (scores.argmax(1) != (labels if labels.ndim == 1 else labels.argmax(1))).sum()
            assert self._sums is not None
            self._sums += torch.stack([wrong, loss.detach() * len(scores), wrong.new_tensor(len(scores))])
        self._loss = loss.detach()
        completes = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        logs = completes and (self.global_step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if logs or loss.device.type == "cpu":
            self._require_finite_loss()
        if logs:  # directly: Lightning would log it after the checkpoint of an interrupted run
            for logger in trainer.loggers:
                row = {"train/loss_step": self._loss.item(), "epoch": self.current_epoch}
                logger.log_metrics(row, step=self.global_step)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Has the last step of `trainer.max_steps` validated, also in mid-epoch."""
        if 0 < self.trainer.max_steps <= self.global_step:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Logs the epoch and has it written; stops if the training has diverged."""
        self._require_finite_loss()
        self._require_finite_weights()
        sums, self._sums = self._sums, None
        assert sums is not None
        wrong, loss, images = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self.images_seen += int(images)
        values = {"train/error": 100 * wrong / images, "train/loss": loss / images, "lr": torch.tensor(self._lr)}
        self.log_dict(values, logger=False, sync_dist=False)
        known = self.trainer.callback_metrics
        values |= {name: known[name] for name in known if name.startswith("system/")}
        row = {name: float(value) for name, value in values.items()} | {"epoch": self.current_epoch}
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=self.global_step - 1)
        flush(self.trainer.loggers)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what belongs to these weights: validation error, curves, sums of an unfinished epoch.

        Weights of a training that has diverged are not saved.
        """
        self._require_finite_weights()
        flush(self.trainer.loggers)
        error = self.trainer.callback_metrics.get("val/error")
        fresh = error is not None and self.validated_epoch == self.current_epoch
        checkpoint["val_error"] = float(error) if fresh else None  # type: ignore[arg-type]
        checkpoint["training_seconds"] = self.training_seconds()
        checkpoint["images_seen"] = self.images_seen
        checkpoint["processes"] = self.trainer.world_size
        checkpoint["metrics_csv"] = written(self.trainer.loggers)
        if self._sums is not None and self.trainer.training:
            # A row for each process: only the first writes the checkpoint.
            sums: Any = self.all_gather(self._sums)
            checkpoint["sums"] = sums.reshape(-1, 3).cpu()
            checkpoint["lr"] = self._lr

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the counts of the interrupted run."""
        self._seconds_before = checkpoint.get("training_seconds", 0.0)
        self.images_seen = checkpoint.get("images_seen", 0)
        if (sums := checkpoint.get("sums")) is not None:
            rate = checkpoint.get("lr", self._lr)
            self._restored = sums.reshape(-1, 3)[self.trainer.global_rank], rate

    def on_validation_epoch_start(self) -> None:
        """Forgets the validation before."""
        self._validation_loss, self.validated_epoch = None, self.current_epoch
        self._share_buffers()

    def on_test_epoch_start(self) -> None:
        """Scores the same network in all processes."""
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Gives all processes the buffers of the first, which saves: each has batch statistics of its own."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores one batch of the validation split."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Scores one batch of the test set; returns the scores (N, num_classes) for callbacks."""
        return self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        scores = self._scores(batch[0]).detach()
        loss = F.cross_entropy(scores, batch[1])
        error: ErrorRate = getattr(self, f"{stage}_error")
        error(scores, batch[1])
        size = len(scores)
        if stage == "val":
            self._validation_loss = loss if self._validation_loss is None else self._validation_loss + loss
        self.log(f"{stage}/error", error, on_step=False, on_epoch=True, batch_size=size)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return scores

    def _scores(self, images: Tensor) -> Tensor:
        # trainer.precision=64-true and the like change the weights' type.
        scores: Tensor = self(images.to(self.dtype, memory_format=self._format))
        return scores

    def _require_finite_loss(self) -> None:
        if self._loss is not None:
            what = f"the loss is {self._loss.item()} at step {self.global_step}"
            self._require(bool(self._loss.isfinite()), what)

    def _require_finite_weights(self) -> None:
        """Looks at what the last step made of the weights, which no training loss shows."""
        values = [parameter.detach().isfinite().all() for parameter in self.model.parameters()]
        values += [] if self._validation_loss is None else [self._validation_loss.isfinite()]
        weights = bool(torch.stack(values).all()) if values else True
        self._require(weights, f"weights or validation loss are not finite after step {self.global_step}")

    def _require(self, good: bool, what: str) -> None:
        # All processes stop, or the others would wait for this one.
        if self.trainer.strategy.reduce_boolean_decision(good, all=True):
            return
        savers = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        savers.sort(key=lambda callback: callback.monitor is not None)  # the one that saves every epoch first
        paths = [saver.last_model_path or saver.best_model_path for saver in savers]
        last = next((path for path in paths if path and Path(path).exists()), None)
        precision = "" if str(self.trainer.precision).startswith("32") else ", or try trainer.precision=32-true"
        error = UserError(
            f"Training diverged: {what}, in epoch {self.current_epoch + 1}. Lower the learning rate "
            f"(optimizer.lr=…){precision}. "
            + (f"The last good checkpoint is {last}." if last else "There is no good checkpoint yet.")
        )
        error.told = not self.trainer.is_global_zero  # type: ignore[attr-defined]  # the first process tells it
        raise error
