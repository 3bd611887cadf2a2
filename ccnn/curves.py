"""The curves of a run that goes on: what was logged after its checkpoint is dropped, it will be logged again."""

import csv
import io
import os
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger


def keep_until(folder: Path, steps: int) -> str:
    """The text of metrics.csv, without the rows of the given step and later ones; empty if there is no file.

    Args:
        folder: of the run.
        steps: optimizer steps that the checkpoint has done.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        rows = [row for row in reader if None not in row.values() and (row.get("step") or "").isdigit()]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(row for row in rows if int(row["step"]) < steps)
    return text.getvalue()


def go_on(loggers: list[Logger], folder: Path, text: str) -> None:
    """Puts the kept rows back: a new CSVLogger removes the file of an earlier one."""
    for logger in loggers:
        if isinstance(logger, CSVLogger) and text:
            logger.experiment.metrics_keys = next(csv.reader(io.StringIO(text)))
            temporary = folder / "metrics.csv.tmp"
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, folder / "metrics.csv")


def flush(loggers: list[Logger]) -> None:
    """Sees to it that all points are on the disk."""
    for logger in loggers:
        logger.save()
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()
