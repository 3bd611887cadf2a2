"""What is measured of the machine while it trains."""

import resource
import sys
from time import perf_counter

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ccnn.training.classifier import Batch


class Throughput(Callback):
    """Logs `system/images_per_second` in training, all processes together, and `system/peak_memory_mib`.

    Validation does not count as training time. Peak memory is what tensors took on a GPU during the run, and
    all that the process ever took on a CPU: compare that only between runs of a process each.
    """

    def __init__(self) -> None:
        self._images = 0
        self._seconds = 0.0
        self._since = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets what earlier jobs of a sweep took of a GPU's memory."""
        self._since = perf_counter()  # a run that goes on in mid-epoch sees no start of that epoch
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._images, self._seconds, self._since = 0, 0.0, perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Counts the images."""
        self._images += len(batch[0]) * trainer.world_size

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

    def _pause(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._seconds += perf_counter() - self._since


def peak_memory(device: torch.device) -> float:
    """Returns the most memory taken so far, in MiB: by tensors on a GPU, by the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


class CompileTime(Callback):
    """Says how long the first step of a compiled network took, which is when it is compiled, and the second.

    The first is logged, too, as `system/first_step_seconds`.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._seconds: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Starts the clock."""
        self._since = perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Says both times after the second step, once."""
        if len(self._seconds) == 2:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._seconds.append(perf_counter() - self._since)
        if len(self._seconds) == 2 and trainer.is_global_zero:
            first, second = self._seconds
            print(f"First step, with compiling: {first:.1f} s; then {second:.1f} s a step.", flush=True)
            for logger in trainer.loggers:
                row = {"system/first_step_seconds": first, "epoch": trainer.current_epoch}
                logger.log_metrics(row, step=trainer.global_step - 1)
