"""The progress of a whole training: a bar on a terminal, elsewhere one line per epoch."""

from time import perf_counter

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from ccnn.training.classifier import Batch


class Progress(Callback):
    """Shows how far the training is and how long it will still take, over all its epochs."""

    def __init__(self) -> None:
        self._console = Console()
        self._bar: RichProgress | None = None
        self._begun = 0.0
        self._first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows an empty bar."""
        self._begun, self._first = perf_counter(), _done(trainer)
        if not trainer.is_global_zero or not self._console.is_terminal:
            return
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            expand=True,
        )
        self._bar.add_task(_epoch(trainer), total=_total(trainer), completed=self._first, left="")
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Moves the bar on."""
        if self._bar:
            task, left = self._bar.task_ids[0], self._left(trainer)
            self._bar.update(task, completed=_done(trainer), description=_epoch(trainer), left=left)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of the epoch before, now that all its metrics are known."""
        if trainer.current_epoch > 0 and _done(trainer) > self._first:
            self._line(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of the last epoch and removes the bar."""
        self._line(trainer, trainer.current_epoch)
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Gives the terminal back before an error is shown."""
        self._stop()
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            self._console.print(f"Interrupted in epoch {trainer.current_epoch + 1}, step {trainer.global_step}.")

    def _line(self, trainer: pl.Trainer, epoch: int) -> None:
        if trainer.is_global_zero:
            metrics = _metrics(
                trainer,
                "train/error",
                "val/error",
                "train/loss",
                "val/loss",
                "lr",
                "system/images_per_second",
            )
            parts = [f"epoch {epoch}/{trainer.max_epochs}", *metrics, self._left(trainer)]
            if self._console.is_terminal:  # above the bar
                self._console.print(", ".join(parts), highlight=False, markup=False)
            else:
                print(", ".join(parts), flush=True)

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _left(self, trainer: pl.Trainer) -> str:
        done = _done(trainer)
        seconds = (perf_counter() - self._begun) / max(done - self._first, 1) * (_total(trainer) - done)
        return f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """Writes a time as people say it.

    >>> duration(8.4), duration(75), duration(3700)
    ('8 s', '1 min 15 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _done(trainer: pl.Trainer) -> int:
    """Training batches so far."""
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def _total(trainer: pl.Trainer) -> int:
    """Training batches of all epochs."""
    return int(trainer.num_training_batches) * (trainer.max_epochs or 1)


def _epoch(trainer: pl.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


_FORMATS = {
    "train/error": "train error {:.2f} %",
    "val/error": "val error {:.2f} %",
    "train/loss": "train loss {:.3f}",
    "val/loss": "val loss {:.3f}",
    "lr": "lr {:g}",
    "system/images_per_second": "{:.0f} images/s",
}


def _metrics(trainer: pl.Trainer, *names: str) -> list[str]:
    values = trainer.callback_metrics
    return [_FORMATS[name].format(values[name].item()) for name in names if name in values]
