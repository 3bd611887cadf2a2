"""A callback that shows in TensorBoard, once per run, what was trained, on what, and what it gets wrong."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F

from ccnn.figures.classification import confusion_matrix, image_grid
from ccnn.figures.pattern_pictures import narrow
from ccnn.figures.patterns import patterns
from ccnn.multisampling.conversion import ConversionReport, conversion_report
from ccnn.training.classifier import Batch

_MANY = 15  # images shown, three in a row where they have room

_TEXTS = (_CONFIG, _CONVERSION) = ("run/config", "run/conversion")
_IMAGES = (_PATTERN, _BATCH, _CONFUSIONS, _MISTAKES) = (
    "network/sampling_pattern", "data/augmented_batch", "test/confusion_matrix", "test/most_confused",
)  # fmt: skip
_TEXT_END = "/text_summary"  # what torch adds to the tag of a text


class Pictures(Callback):
    """Fills the tabs IMAGES and TEXT of TensorBoard.

    - at the start the sampling pattern of a converted network, the configuration and the conversion report;
    - the first training batch as the network sees it, augmented;
    - after the test the images that it was most wrong about, and the confusion matrix.

    A run that is resumed shows nothing twice. Nothing random is drawn, and without a TensorBoard logger
    nothing happens. Images are shown as the data module's `pixels(images)` makes them, stretched to the full
    range where it has none, and classes as its `class_names`, as numbers where it has none.

    Args:
        folder: of the run; its config.yaml is what TEXT shows.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._config = Path(folder) / "config.yaml" if folder else None
        self._shown: set[str] | None = None  # not known yet
        self._counts: Tensor | None = None
        self._worst: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows what is about to be trained."""
        report = _report(pl_module)
        with _no_risk():
            if self._config is not None and self._config.is_file():
                self._text(trainer, _CONFIG, self._config.read_text(encoding="utf-8"))
        if report is None:
            return
        with _no_risk():
            self._text(trainer, _CONVERSION, str(report))
        with _no_risk():
            self._image(trainer, _PATTERN, lambda: _pattern(report))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Shows the first batch."""
        if self._shown is not None and _BATCH in self._shown:
            return
        images, labels = (tensor[:_MANY] for tensor in batch)

        def draw() -> Image.Image:
            names = _class_names(trainer, int(labels.max()) + 1)
            title = f"training images as the network\nsees them, {len(images)} of the first batch"
            return image_grid(_pixels(trainer, images), [names[label] for label in labels.tolist()], title)

        with _no_risk():
            self._image(trainer, _BATCH, draw)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier test."""
        self._counts, self._worst = None, []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts confusions and keeps the images with the highest loss."""
        if _logger(trainer) is None or not isinstance(outputs, Tensor):
            return
        images, labels, scores = batch[0], batch[1].cpu(), outputs.float().cpu()
        classes = scores.shape[1]
        counts = torch.bincount(labels * classes + scores.argmax(1), minlength=classes**2)
        self._counts = counts if self._counts is None else self._counts + counts
        losses = F.cross_entropy(scores, labels, reduction="none")
        worst = losses.argsort(descending=True, stable=True)[:_MANY]
        found = [losses[worst], images[worst.to(images.device)].cpu(), labels[worst], scores[worst]]
        kept = [torch.cat(pair) for pair in zip(self._worst, found, strict=True)] if self._worst else found
        order = kept[0].argsort(descending=True, stable=True)[:_MANY]
        self._worst = [values[order] for values in kept]

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows them; with several processes all their counts, and the images of the first."""
        if self._counts is None:
            return
        classes = self._worst[3].shape[1]
        total = trainer.strategy.reduce(self._counts.to(pl_module.device), reduce_op="sum")
        counts = np.asarray(torch.as_tensor(total).cpu()).reshape(classes, classes)
        names = _class_names(trainer, classes)
        with _no_risk():
            self._image(trainer, _CONFUSIONS, lambda: confusion_matrix(counts, names))
        with _no_risk():
            self._image(trainer, _MISTAKES, lambda: self._most_confused(trainer, names))

    def _most_confused(self, trainer: pl.Trainer, names: list[str]) -> Image.Image:
        _, images, labels, scores = self._worst
        shares, answers = scores.softmax(1).max(1)
        captions = [
            f"is {names[label]}\nsaid {names[answer]}\n{share:.0%} sure".replace("%", " %")
            for label, answer, share in zip(labels.tolist(), answers.tolist(), shares.tolist(), strict=True)
        ]
        title = f"the {len(images)} test images of highest loss"
        return image_grid(_pixels(trainer, images), captions, title)

    def _image(self, trainer: pl.Trainer, tag: str, draw: Any) -> None:
        if (logger := self._unless_shown(trainer, tag)) is not None:
            pixels = np.asarray(draw())
            logger.experiment.add_image(tag, pixels, trainer.global_step, dataformats="HWC")

    def _text(self, trainer: pl.Trainer, tag: str, text: str) -> None:
        if (logger := self._unless_shown(trainer, tag)) is not None:
            code = "\n".join(f"    {line}" for line in text.splitlines())  # Markdown for code
            logger.experiment.add_text(tag, code, trainer.global_step)

    def _unless_shown(self, trainer: pl.Trainer, tag: str) -> TensorBoardLogger | None:
        """The logger, the first time that it is asked for this tag in the whole run, resumed or not."""
        logger = _logger(trainer)
        if logger is None or not trainer.is_global_zero:
            return None
        if self._shown is None:
            self._shown = _shown_before(Path(logger.log_dir))
        if tag in self._shown:
            return None
        self._shown.add(tag)
        return logger


def _shown_before(folder: Path) -> set[str]:
    """The tags of ours that the event files of an interrupted run hold; they may be large, and are read once."""
    # How an event file names what it holds: a line feed, the length, the tag.
    names = {tag: tag for tag in _IMAGES} | {tag: tag + _TEXT_END for tag in _TEXTS}
    entries = {tag: b"\n" + bytes([len(name)]) + name.encode() for tag, name in names.items()}
    found: set[str] = set()
    for file in folder.glob("events.out.tfevents.*"):
        content = file.read_bytes()
        found |= {tag for tag, entry in entries.items() if entry in content}
    return found


@contextmanager
def _no_risk() -> Iterator[None]:
    """A picture that fails, on a full disk for example, must not end a training of days."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"a picture for TensorBoard is left out: {type(error).__name__}: {error}", stacklevel=2)


def _logger(trainer: pl.Trainer) -> TensorBoardLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def _report(pl_module: pl.LightningModule) -> ConversionReport | None:
    model = getattr(pl_module, "model", None)
    try:
        return conversion_report(model) if isinstance(model, torch.nn.Module) else None
    except ValueError:
        return None


def _pattern(report: ConversionReport) -> Image.Image:
    mode = "\nin evaluation" if report.sampling.draws else ""
    first = report.layers[0].name or "the network"
    title = f"sampling={report.sampling}{mode}\nwhat is kept of the map that reaches\n{first}"
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
