"""Ctrl-C, SIGTERM and SIGHUP: training stops after the current batch, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ccnn.runs.checkpoints import LAST


class Interrupted(BaseException):  # as KeyboardInterrupt, no Exception: it ends a sweep, too
    """A signal asked a run to stop.

    Args:
        signal_number: which one.
        saved: whether the state of the training was saved.
    """

    message = "Interrupted."

    def __init__(self, signal_number: int, saved: bool) -> None:
        super().__init__(signal_number, saved)  # these, so that it can be pickled, as a launcher does
        self.signal_number, self.saved = signal_number, saved

    def __str__(self) -> str:
        return self.message


class Interruption(Callback):
    """Takes SIGINT, SIGTERM and SIGHUP during a run.

    In training the run stops after the current batch and is saved; otherwise, or at a second signal, at once.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "checkpoints" / LAST
        self._received = 0
        self._training = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Takes the signals for as long as this lasts, where it is the main thread."""
        before = self._take()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals again, which Lightning has taken meanwhile."""
        self._training = True
        self._take()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stops here if asked to, but for two moments in which a checkpoint would lack something.

        Those are before the end of an epoch, which its validation belongs to, and before all gradients of a step
        are accumulated.
        """
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        every: int = trainer.log_every_n_steps * trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        if self._asked(trainer, now=(batch_idx + 1) % every == 0):
            trainer.save_checkpoint(self._path)
            self._stop()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if asked to in a validation; the epoch before has just been saved."""
        if trainer.current_epoch and self._asked(trainer):
            self._stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if asked to in the last validation."""
        self._training = False
        if self._received:
            self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The training is over."""
        self._training = False

    def _asked(self, trainer: pl.Trainer, now: bool = True) -> bool:
        """All processes stop at the same batch, so they have to ask each other; now and then is enough."""
        if trainer.world_size == 1:
            return bool(self._received)
        return now and bool(trainer.strategy.reduce_boolean_decision(bool(self._received), all=False))

    def _take(self) -> dict[signal.Signals, Any]:
        """Takes the signals, where this is the main thread; returns who had them."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; nohup ignores it
        numbers = _SIGNALS if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN else (*_SIGNALS, hangup)
        return {number: signal.signal(number, self._receive) for number in numbers}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self._received = bool(self._received), number
        if again or not self._training:
            self._stop()

    def _stop(self) -> None:
        raise Interrupted(self._received or signal.SIGTERM, saved=self._path.exists())


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
