"""A callback that shows in the loggers, once per run, what is trained, on what, and what it gets wrong."""

import warnings
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from ccnn.figures.classification import confusion_matrix, image_grid, rendered
from ccnn.figures.pattern_panels import narrow
from ccnn.figures.patterns import patterns
from ccnn.multisampling.conversion import ConversionReport, conversion_report
from ccnn.palette import Pixels
from ccnn.training.classifier import Batch

_MANY = 15  # images shown


class Pictures(Callback):
    """Shows figures and texts in TensorBoard, and in every logger with `log_image` and `log_text`, such as W&B's.

    - at the start: the sampling pattern of a converted network, the configuration and the conversion report;
    - the first training batch as the network sees it, augmented;
    - after the test: the images with the highest loss, and the confusion matrix.

    A resumed run shows nothing twice: what was shown is in the checkpoint. Nothing random is drawn, and a figure
    that fails never ends the training. Images are shown as the data module's `pixels(images)` returns them,
    stretched to the full range without it, and classes by its `class_names`, or by number.

    Args:
        folder: of the run; its config.yaml is shown.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._config = Path(folder) / "config.yaml" if folder else None
        self._shown: set[str] = set()
        self._confusions: MulticlassConfusionMatrix | None = None
        self._worst: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """What was shown."""
        return {"shown": sorted(self._shown)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what was shown."""
        self._shown = set(state_dict["shown"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows what is about to be trained."""
        config, report = self._config, _report(pl_module)
        if config is not None and config.is_file():
            self._show(trainer, "run/config", lambda: config.read_text(encoding="utf-8"))
        if report is not None:
            self._show(trainer, "run/conversion", lambda: str(report))
            self._show(trainer, "network/sampling_pattern", lambda: _pattern(report))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Shows the first batch."""

        def draw() -> Image.Image:
            images, labels = (tensor[:_MANY] for tensor in batch)
            names = _class_names(trainer, int(labels.max()) + 1)
            title = f"{len(images)} training images of the first batch,\nas the network sees them"
            return image_grid(_pixels(trainer, images), [names[label] for label in labels.tolist()], title)

        self._show(trainer, "data/augmented_batch", draw)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier test."""
        self._confusions, self._worst = None, []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Counts confusions and keeps the images with the highest loss."""
        if not trainer.loggers or not isinstance(outputs, Tensor):
            return
        images, labels, scores = batch[0], batch[1], outputs.float()
        if self._confusions is None:
            self._confusions = MulticlassConfusionMatrix(scores.shape[1]).to(scores.device)
        self._confusions.update(scores, labels)
        new = [F.cross_entropy(scores, labels, reduction="none"), images, labels, scores]
        tested = [torch.cat(pair) for pair in zip(self._worst, new, strict=True)] if self._worst else new
        order = tested[0].argsort(descending=True, stable=True)[:_MANY]
        self._worst = [values[order] for values in tested]

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows them; with several processes the confusions of all, and the images of the first."""
        if self._confusions is None:
            return
        counts = self._confusions.compute()  # synchronises processes, so all of them call it
        names = _class_names(trainer, len(counts))
        self._show(trainer, "test/confusion_matrix", lambda: rendered(confusion_matrix(counts, names)))
        self._show(trainer, "test/most_confused", lambda: self._most_confused(trainer, names))

    def _most_confused(self, trainer: pl.Trainer, names: list[str]) -> Image.Image:
        _, images, labels, scores = self._worst
        shares, predictions = scores.softmax(1).max(1)
        rows = zip(labels.tolist(), predictions.tolist(), shares.tolist(), strict=True)
        captions = [
            f"is {names[label]}\npredicted {names[prediction]}\n{100 * share:.0f} % sure"
            for label, prediction, share in rows
        ]
        return image_grid(_pixels(trainer, images), captions, f"{len(images)} test images with the highest loss")

    def _show(self, trainer: pl.Trainer, tag: str, make: Callable[[], Image.Image | str]) -> None:
        """Gives a picture or a text to the loggers. An error, of a full disk for example, becomes a warning."""
        first = tag not in self._shown and bool(trainer.loggers)
        self._shown.add(tag)
        if not (first and trainer.is_global_zero):
            return
        try:
            made = make()
            for logger in trainer.loggers:
                if isinstance(made, str):
                    _log_text(logger, tag, made, trainer.global_step)
                else:
                    _log_image(logger, tag, np.asarray(made), trainer.global_step)
        except Exception as error:
            warnings.warn(f"{tag} is not shown: {type(error).__name__}: {error}", stacklevel=2)


def _log_image(logger: Logger, tag: str, pixels: Pixels, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, pixels, step, dataformats="HWC")
    elif hasattr(logger, "log_image"):
        logger.log_image(key=tag, images=[pixels])


def _log_text(logger: Logger, tag: str, text: str, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(tag, indent(text, "    ", lambda line: True), step)  # Markdown for code
    elif hasattr(logger, "log_text"):
        logger.log_text(key=tag, columns=["text"], data=[[text]])


def _report(pl_module: pl.LightningModule) -> ConversionReport | None:
    model = getattr(pl_module, "model", None)
    try:
        return conversion_report(model) if isinstance(model, torch.nn.Module) else None
    except ValueError:
        return None


def _pattern(report: ConversionReport) -> Image.Image:
    mode = " in evaluation" if report.sampling.draws else ""
    first = report.layers[0].name or "the network"
    title = f"sampling={report.sampling}{mode}:\nwhat is kept of the map that reaches\n{first}"
    return narrow(patterns(report.steps)[1:], title)


def _pixels(trainer: pl.Trainer, images: Tensor) -> Tensor:
    convert = getattr(getattr(trainer, "datamodule", None), "pixels", None)
    if convert is not None:
        return torch.as_tensor(convert(images))
    low, high = images.amin(), images.amax()
    return ((images.float() - low) / (high - low).clamp(min=1e-9) * 255).round().to(torch.uint8)


def _class_names(trainer: pl.Trainer, classes: int) -> list[str]:
    names = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    return list(names) if names is not None and len(names) >= classes else [str(i) for i in range(classes)]
