"""Callbacks that measure the machine while it trains."""

import resource
import sys
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ccnn.training.classifier import Batch


class Throughput(Callback):
    """Logs speed and memory of each epoch, and how long compiling takes.

    `system/images_per_second` counts training alone, all processes together. `system/peak_memory_mib` is what
    tensors took on a GPU during the run, and what the whole process ever took on a CPU: compare that only between
    runs with a process of their own. `system/first_step_seconds` is logged and printed once
    for a compiled network, which is compiled in that step.

    Args:
        compiled: whether the network is compiled.
    """

    def __init__(self, compiled: bool = False) -> None:
        self._compiled = compiled
        self._images, self._steps = 0, 0
        self._seconds, self._since, self._step_since = 0.0, 0.0, 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets what earlier jobs of a sweep took of a GPU's memory."""
        self._since = perf_counter()  # a run resumed in mid-epoch sees no start of that epoch
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._images, self._seconds, self._since = 0, 0.0, perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Starts the clock of the step."""
        self._step_since = perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Counts the images; logs the first step of a compiled network."""
        self._images += len(batch[0]) * trainer.world_size
        self._steps += 1
        if self._compiled and self._steps == 1:
            self._synchronize(pl_module.device)
            seconds = perf_counter() - self._step_since
            for logger in trainer.loggers:
                row = {"system/first_step_seconds": seconds, "epoch": trainer.current_epoch}
                logger.log_metrics(row, step=trainer.global_step - 1)
            if trainer.is_global_zero:
                print(f"First step, with compiling: {seconds:.1f} s.", flush=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self._pause(pl_module.device)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock again."""
        self._since = perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs what was measured."""
        self._pause(pl_module.device)
        values: dict[str, float | Tensor] = {
            "system/images_per_second": self._images / max(self._seconds, 1e-9),
            "system/peak_memory_mib": peak_memory(pl_module.device),
        }
        pl_module.log_dict(values, logger=False, rank_zero_only=True)  # the classifier logs the whole epoch

    def _synchronize(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def _pause(self, device: torch.device) -> None:
        self._synchronize(device)
        self._seconds += perf_counter() - self._since


def peak_memory(device: torch.device) -> float:
    """Returns the most memory taken so far, in MiB: by tensors on a GPU, by the process on a CPU.

    Example:
        >>> peak_memory(torch.device("cpu")) > 1
        True
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
