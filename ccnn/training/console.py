"""What a run prints: its heading, the progress of its training and a table of its result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from ccnn.runs.record import RunRecord

_FORMATS = {
    "train/error": "train error {:.2f} %",
    "val/error": "val error {:.2f} %",
    "train/loss": "train loss {:.3f}",
    "val/loss": "val loss {:.3f}",
    "lr": "lr {:g}",
    "system/images_per_second": "{:.0f} images/s",
}


def plain_console(quiet: bool = False) -> Console:
    """Returns a console that prints texts as they are, on one line however long."""
    return Console(quiet=quiet, highlight=False, markup=False, soft_wrap=True)


class Progress(RichProgressBar):
    """Lightning's bar over the current epoch on a terminal, and a line for each finished epoch everywhere."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._begun, self._first = 0.0, 0
        if not Console().is_terminal:
            self.disable()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        super().on_train_start(trainer, pl_module)
        self._begun, self._first = perf_counter(), _batches_done(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of the epoch before, now that all its metrics are known."""
        super().on_train_epoch_start(trainer, pl_module)
        if trainer.current_epoch > 0 and _batches_done(trainer) > self._first:
            self._line(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of the last epoch."""
        super().on_train_end(trainer, pl_module)
        self._line(trainer, pl_module)

    def _line(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        validated = getattr(pl_module, "validated_epoch", None) == trainer.current_epoch - 1
        shown = [name for name in _FORMATS if name in metrics and (validated or not name.startswith("val/"))]
        done, total = _batches_done(trainer), int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        seconds = (perf_counter() - self._begun) / max(done - self._first, 1) * (total - done)
        parts = [_FORMATS[name].format(metrics[name].item()) for name in shown]
        epoch = f"epoch {trainer.current_epoch}/{trainer.max_epochs}"
        print(", ".join([epoch, *parts, f"{duration(seconds)} left"]), flush=True)  # rich keeps it above the bar


def _batches_done(trainer: pl.Trainer) -> int:
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def duration(seconds: float) -> str:
    """Writes a time as people say it.

    Example:
        >>> duration(8.4), duration(75), duration(3700)
        ('8 s', '1 min 15 s', '1 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def heading(model: str, config: DictConfig, trainer: pl.Trainer) -> str:
    """Says in a line what is about to be trained, for how long and on what."""
    device = trainer.strategy.root_device
    place = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(config.trainer.precision)
    if trainer.world_size > 1:
        each = f" of {config.data.batch_size} images a step each" if "batch_size" in config.data else ""
        place += f", {trainer.world_size} processes{each}"
    protocol = "" if config.protocol == "honest" else ", protocol=paper: the test set chooses the epoch"
    parts = [
        f"[bold]{model}[/] on [bold]{config.data.get('name', config.data._target_)}[/]",
        f"converted, {config.sampling.name}" if config.convert else "not converted",
        f"seed {config.seed}",
        _epochs(config.trainer.max_epochs) + protocol,
        f"{device.type}, {place}",
    ]
    return " · ".join(parts)


def result_table(record: RunRecord) -> Table:
    """Lays out a run's result."""
    rows = {"test error": f"{record.test_error:.2f} %", "test loss": f"{record.test_loss:.4f}"}
    rows["tested weights"] = f"epoch {record.best_epoch}, {record.chosen_by}"
    if record.chosen_by is None:
        rows["tested weights"] = "those at the end"
    elif record.val_error is not None:
        rows["test error chosen by" if record.protocol == "paper" else "validation error"] = (
            f"{record.val_error:.2f} %"
        )
    rows["parameters"] = f"{record.parameters:,}"
    rows["multiply-adds per image"] = f"{record.multiply_adds:,}"
    if record.convert:
        rows["multiply-adds per image"] += f", {record.multiply_adds_ratio:.2f} × the unconverted network's"
    rows["training time"] = f"{duration(record.training_seconds or 0)}, {_epochs(record.epochs or 0)}"
    table = Table(show_header=False, title="Result", title_justify="left")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


@contextmanager
def watch(total: int) -> Iterator[Callable[[int], None]]:
    """Shows the progress of an evaluation: a bar on a terminal, elsewhere a line for each tenth.

    Yields:
        The function to call with the number of images of each batch that is done.
    """
    done = 0
    with Bar(transient=True, disable=not Console().is_terminal) as bar:
        task = bar.add_task("images", total=total)

        def on_batch(images: int) -> None:
            nonlocal done
            before, done = done, done + images
            bar.update(task, completed=done)
            if bar.disable and done * 10 // total > before * 10 // total:
                print(f"{done:,} of {total:,} images", flush=True)

        yield on_batch
