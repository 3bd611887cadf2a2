"""metrics.csv of a resumed run: rows after its checkpoint are dropped, because they will be logged again."""

import csv
import io
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from ccnn.files import write_text


def flush(loggers: list[Logger]) -> None:
    """Writes all points to the disk."""
    for logger in loggers:
        logger.save()
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()


def written(loggers: list[Logger]) -> str:
    """The text of metrics.csv so far, for a checkpoint to keep; empty if there is none.

    The file itself is not safe: a CSVLogger rewrites it for every new column, and removes it when it starts.
    """
    for logger in loggers:
        if isinstance(logger, CSVLogger) and _path(logger).is_file():
            with _path(logger).open(newline="", encoding="utf-8") as file:
                return file.read()
    return ""


def go_on(loggers: list[Logger], text: str) -> None:
    """Restores the rows that a checkpoint has kept."""
    for logger in loggers:
        if isinstance(logger, CSVLogger) and text:
            logger.experiment.metrics_keys = next(csv.reader(io.StringIO(text)))
            write_text(_path(logger), text)


def _path(logger: CSVLogger) -> Path:
    return Path(logger.log_dir) / "metrics.csv"
