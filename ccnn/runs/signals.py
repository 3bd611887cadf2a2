"""Ctrl-C, SIGTERM and SIGHUP: training stops after the current batch, with a checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ccnn.runs.checkpoints import LAST


class Interrupted(BaseException):  # as KeyboardInterrupt, no Exception: it ends a sweep, too
    """A signal stopped a run.

    Args:
        signal_number: which one.
        saved: whether the state of the training was saved.
        lost: what will have to be repeated, as a sentence.
    """

    message = "Interrupted."

    def __init__(self, signal_number: int, saved: bool, lost: str = "") -> None:
        super().__init__(signal_number, saved, lost)  # all arguments: launchers pickle it
        self.signal_number, self.saved, self.lost = signal_number, saved, lost

    def __str__(self) -> str:
        return self.message


class Interruption(Checkpoint):  # Lightning calls checkpoint callbacks last, when an epoch is complete
    """Handles SIGINT, SIGTERM and SIGHUP during a run.

    In training the run stops after the current batch and is saved. A validation that will take seconds is
    finished first, as is any validation in several processes, whose numbers of batches may differ. A longer one
    stops after its current batch, and the epoch is repeated, because Lightning cannot resume within a validation.
    At all other times, or at a second signal, the run stops at once.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "checkpoints" / LAST
        self._received = 0
        self._since = 0.0
        self._training = self._speaks = self._ended = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Handles the signals within this context, in the main thread."""
        before = self._take()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handles the signals again, after Lightning has set its own handlers."""
        self._training, self._speaks = True, trainer.is_global_zero
        self._take()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stops here if asked to, unless a checkpoint would lack something.

        That is after the last batch, because the validation belongs to the epoch, and before all gradients of a
        step are accumulated.
        """
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        every: int = trainer.log_every_n_steps * trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        if self._asked(trainer, now=(batch_idx + 1) % every == 0):
            trainer.save_checkpoint(self._path)
            self._stop()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._since = perf_counter()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stops here if asked to and the validation would take long."""
        if self._received and trainer.world_size == 1:
            batches, done = sum(trainer.num_val_batches), batch_idx + 1
            if (perf_counter() - self._since) / done * (batches - done) > _PATIENCE:
                self._stop("The validation of this epoch was not finished, the epoch will be repeated.")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the epoch if asked to stop: the last checkpoint may be many epochs old."""
        if self._asked(trainer):
            trainer.save_checkpoint(self._path)
            self._ended = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if the previous epoch was saved for that."""
        if self._ended:
            self._stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if asked to in the last epoch."""
        self._training = False
        if self._ended or self._asked(trainer):
            self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The training is over."""
        self._training = False

    def _asked(self, trainer: pl.Trainer, now: bool = True) -> bool:
        """Whether to stop; all processes must stop at the same batch, so they ask each other now and then."""
        if trainer.world_size == 1:
            return bool(self._received)
        return now and bool(trainer.strategy.reduce_boolean_decision(bool(self._received), all=False))

    def _take(self) -> dict[signal.Signals, Any]:
        """Sets the handlers, in the main thread alone, where Python allows it; returns the previous ones."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; nohup ignores it
        numbers = _SIGNALS if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN else (*_SIGNALS, hangup)
        return {number: signal.signal(number, self._receive) for number in numbers}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self._received = bool(self._received), number
        if again or not self._training:
            self._stop()
        if self._speaks:  # not by print: Python's buffers may be in use right now
            os.write(2, b"\nStopping after this batch; again to stop at once.\n")

    def _stop(self, lost: str = "") -> None:
        raise Interrupted(self._received or signal.SIGTERM, self._path.exists(), lost)


_PATIENCE = 10.0  # seconds; SLURM waits 30 after its SIGTERM

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
