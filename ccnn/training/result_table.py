"""What a run prints about itself before and after its training."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from rich.table import Table

from ccnn.training.console import duration


def heading(model: str, config: DictConfig, trainer: pl.Trainer) -> str:
    """Says in a line what is about to be trained, for how long and on what."""
    kind = f"converted, {config.sampling.name}" if config.convert else "not converted"
    device = trainer.strategy.root_device
    place = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(config.trainer.precision)
    if trainer.world_size > 1:
        place += f", {trainer.world_size} processes of {config.data.batch_size} images a step each"
    protocol = "" if config.protocol == "honest" else ", protocol=paper: the test set chooses the epoch"
    parts = [
        f"[bold]{model}[/] on [bold]{config.data.name}[/]",
        kind,
        f"seed {config.seed}",
        epochs(config.trainer.max_epochs) + protocol,
        f"{device.type}, {place}",
    ]
    return " · ".join(parts)


def table(metrics: Mapping[str, Any]) -> Table:
    """Lays out a run's metrics."""
    rows = {
        "test error": f"[bold]{metrics['test/error']:.2f} %[/]",
        "test loss": f"{metrics['test/loss']:.4f}",
    }
    if metrics["val/error"] is None:
        rows["tested weights"] = "those of the last epoch"
    else:
        which = "best test epoch" if metrics["protocol"] == "paper" else "best validation error"
        rows[which] = f"{metrics['val/error']:.2f} %, epoch {metrics['best_epoch']} (tested weights)"
    rows["parameters"] = f"{metrics['parameters']:,}"
    rows["multiply-adds per image"] = f"{metrics['multiply_adds']:,}"
    if metrics["convert"]:
        rows["multiply-adds per image"] += f", {metrics['multiply_adds_ratio']:.2f} × the unconverted network's"
    rows["training time"] = f"{duration(metrics['training_seconds'])}, {epochs(metrics['epochs'])}"
    result = Table(show_header=False, title="Result", title_justify="left")
    result.add_column(style="cyan", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in rows.items():
        result.add_row(name, value)
    return result


def epochs(count: int) -> str:
    """Returns the number with its noun."""
    return "1 epoch" if count == 1 else f"{count} epochs"
