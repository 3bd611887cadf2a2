"""What a user brings along: a plain data module, a logger with a session, a callback that watches the weights."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class PlainData(pl.LightningDataModule):
    """96 images of 12×20 pixels, four classes that a constant tells apart; knows nothing of ccnn."""

    num_classes = 4

    def _loader(self, shuffle: bool) -> DataLoader:
        labels = torch.arange(96) % 4
        noise = torch.rand(96, 1, 12, 20, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(noise + labels.view(-1, 1, 1, 1), labels), batch_size=16, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader:
        return self._loader(True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(False)

    def test_dataloader(self) -> DataLoader:
        return self._loader(False)


class ListedData(PlainData):
    """Tests on a list of batches, which does not say how many images there are."""

    def test_dataloader(self) -> Any:
        return list(super().test_dataloader())


class Session:
    """What a service gives a logger."""

    finished = 0

    def finish(self) -> None:
        type(self).finished += 1


class SessionLogger(Logger):
    """Logs nothing, into a session that has to be finished."""

    name, version = "session", 0

    @property
    def experiment(self) -> Session:
        return Session()

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *arguments: Any, **options: Any) -> None: ...


class WeightWatcher(Callback):
    """Keeps the weights after each step, and those that are scored in the test."""

    steps: list[Tensor]
    tested: Tensor

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        type(self).steps = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps.append(_weights(pl_module))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        type(self).tested = _weights(pl_module)


def _weights(module: pl.LightningModule) -> Tensor:
    return torch.cat([parameter.detach().double().flatten() for parameter in module.parameters()])
