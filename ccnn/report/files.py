"""Writes the report's files, each of which is either complete or not there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ccnn.errors import UserError
from ccnn.files import write_bytes
from ccnn.report import render, spreadsheets
from ccnn.report.compute_plot import error_vs_training_compute
from ccnn.report.curves import learning_curves
from ccnn.report.group import Block
from ccnn.report.runs import Run
from ccnn.report.scatter import error_vs_multiply_adds
from ccnn.report.tables import Sheet

_SPECIAL = "error_vs_training_compute.png"
"""Is there for studies that have CNNs trained for longer; elsewhere nobody misses it."""


def write(
    folder: Path, blocks: Sequence[Block], sheets: Sequence[Sheet], notes: Sequence[str], runs: Sequence[Run]
) -> tuple[list[Path], list[str]]:
    """Writes tables, runs and plots.

    Args:
        folder: made if it does not exist; files of an earlier report are replaced.
        blocks, sheets, notes: the report.
        runs: all that were read, also those that no table shows.

    Returns:
        The files written, and a line for each plot that has nothing to show and each file that cannot be read.

    Raises:
        UserError: the folder cannot be written.
    """
    problems: list[str] = []
    texts = {
        "table.md": render.markdown(sheets, notes),
        "table.csv": spreadsheets.cells(blocks),
        "table.tex": render.latex(sheets, notes),
        "runs.csv": spreadsheets.runs_table(runs),
    }
    contents: dict[str, bytes | None] = {name: text.encode() for name, text in texts.items()}
    contents["error_vs_multiply_adds.png"] = error_vs_multiply_adds(blocks)
    contents[_SPECIAL] = error_vs_training_compute(blocks)
    contents["learning_curves.png"] = learning_curves(blocks, problems)
    written, absent = write_files(folder, contents)
    problems += [
        f"{path}: not written, no run has what it would show." for path in absent if path.name != _SPECIAL
    ]
    return written, problems


def write_files(folder: Path, contents: Mapping[str, bytes | None]) -> tuple[list[Path], list[Path]]:
    """Writes files into a folder, which is made if it does not exist; None removes that of an earlier report.

    Returns:
        The files written, and those that are None.

    Raises:
        UserError: the folder cannot be written.
    """
    written, absent = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)  # it would contradict the tables
                absent.append(folder / name)
            else:
                write_bytes(folder / name, content)
                written.append(folder / name)
    except OSError as error:
        raise UserError(f"--output: {error.filename or folder} cannot be written: {error.strerror}.") from error
    return written, absent
