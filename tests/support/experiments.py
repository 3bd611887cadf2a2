"""What the tests share: small settings, the types of their fixtures, networks without special values."""

import os
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from hydra.utils import get_object
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from ccnn.errors import UserError

Compose = Callable[..., DictConfig]
Run = Callable[..., dict[str, Any]]

SMALL = (
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "+trainer.limit_train_batches=4",
    "data.batch_size=64",
)

RANDOM = ("convert=true", "sampling=random", "callbacks.pictures=null")
"""What makes a run depend on every source of randomness."""


class SignalAt(Callback):
    """Sends a signal to its own process while it trains on a batch, once."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.step and self.number:
            os.kill(os.getpid(), self.number)


def signal_at(step: int, number: int = 0) -> tuple[str, ...]:
    """The overrides that have a run stopped in a batch, counted from 0; by no signal at all without a number."""
    node = {"_target_": "experiments.SignalAt", "step": step, "number": int(number)}
    return tuple(f"+callbacks.stop.{name}={value}" for name, value in node.items())


class SpoilAt(Callback):
    """Makes a weight NaN after a batch, counted from 0, as an update that diverges does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.step:
            next(pl_module.parameters()).data.view(-1)[0] = float("nan")


class KillIn(Callback):
    """Kills its own process, as `kill -9` does, once: where in the program that is hardest to survive.

    Args:
        place: a key of PLACES.
        mark: the file that says that it has been done.
    """

    PLACES: ClassVar = {
        "the writing of a checkpoint": ("torch.save", 3),
        "the renaming of a checkpoint": ("ccnn.runs.checkpoints.replace", 3),
        "the test": ("ccnn.training.classifier.Classifier.test_step", 1),
        "the writing of the result": ("ccnn.training.run.RunRecord.write", 1),
        "the note that it is finished": ("ccnn.training.run.write_status", 1),
    }
    """Functions, and in which of their calls."""

    def __init__(self, place: str, mark: str) -> None:
        self.place, self.mark = place, Path(mark)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.mark.exists() or stage != "fit":
            return
        name, self.left = self.PLACES[self.place]
        owner, _, function = name.rpartition(".")
        original = get_object(name)

        def killing(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if name == "torch.save":
                    arguments[1].write(b"the first half")
                    arguments[1].flush()
                self.mark.touch()
                os.kill(os.getpid(), SIGKILL)
            return original(*arguments, **options)

        setattr(get_object(owner), function, killing)


class RaiseAt(Callback):
    """Raises an error while one of the processes trains on a batch: UserError or SystemExit, by name."""

    def __init__(self, step: int, error: str, rank: int = 0) -> None:
        self.step, self.error, self.rank = step, error, rank

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        here = trainer.global_rank == self.rank and trainer.fit_loop.epoch_loop.total_batch_idx == self.step
        if here and self.error == "SystemExit":
            raise SystemExit(7)
        if here and self.error == "UserError":
            raise UserError(f"what process {self.rank} says")


class Witness(Callback):
    """Writes down what one of several processes saw and drew, and what it ended with."""

    def __init__(self, folder: str) -> None:
        self.folder, self.seen = Path(folder), dict[str, Any]()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        placements: list[Any] = [getattr(module, "placement", None) for module in pl_module.modules()]
        drawn = [p.draws.current for p in placements if p is not None and p.draws is not None]
        step = {"images": batch[0].clone(), "labels": batch[1], "drawn": str(drawn)}
        self.seen[f"{trainer.current_epoch}.{batch_idx}"] = step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trained = dict(pl_module.named_parameters())
        torch.save({"steps": self.seen, "trained": trained}, self.folder / f"rank{trainer.global_rank}.pt")


class NanAt(nn.Module):
    """A linear classifier that yields NaN from a pass in training on, counted from 0."""

    def __init__(self, in_channels: int, num_classes: int, calls: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_classes)
        self.calls = calls

    def forward(self, images: Tensor) -> Tensor:
        scores = self.linear(images.mean((-2, -1)))
        if self.training and images.device.type != "meta":
            self.calls -= 1
        return scores if self.calls >= 0 else scores * float("nan")


def flat_network(in_channels: int, num_classes: int) -> nn.Module:
    """A network that subsamples nothing."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )


def randomised(model: nn.Module) -> nn.Module:
    """The model, its batch norms with statistics and weights that a mistake cannot hide behind."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model
