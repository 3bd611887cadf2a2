"""Evaluations of several seeds as one table: what conversion gives networks that were trained plain."""

import csv
import json
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

from ccnn.errors import UserError
from ccnn.report.format import plus_minus, signed, times
from ccnn.report.group import Block, Row, arrange
from ccnn.report.runs import Mapped, Run
from ccnn.report.statistics import Summary, summarise
from ccnn.report.tables import block_title, row_name

FOLDER = "conversions"
"""In a run's folder: where its evaluation is."""

COLUMNS = ("network", "top-1 error, %", "gain over the CNN", "95 % interval", "multiply-adds")


Line = dict[str, Any]
"""A network of a table: its heading, the columns of the CSV, and `error` and `gain` as summaries."""

_OF_A_NETWORK = ("network", "top1_error", "top1_gain", "multiply_adds_ratio")


def summaries(runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """One line for each network: over the seeds, the mean error and the gain paired by seed.

    Args:
        runs: finished CNNs, each evaluated into the folder `conversions` of its own. Runs that do not stand in
            one cell of the report, being trained in other ways or on other data, are not averaged here either.

    Returns:
        The lines, and notes on the whole.

    Raises:
        UserError: an evaluation is missing or cannot be read.
    """
    blocks, notes = arrange(runs)
    lines: list[Line] = []
    for block in blocks:
        for row in block.rows:
            groups: dict[tuple[int, str], list[tuple[Run, Mapped]]] = {}
            for run in (run for cell in row.cells.values() for run in cell):
                images, networks = _read(run.folder / FOLDER / "evaluation.json")
                for network in networks:
                    groups.setdefault((images, network["network"]), []).append((run, network))
            for (images, _), members in sorted(groups.items(), key=lambda item: item[0][0]):
                lines.append(_line(block, row, images, members))
        notes += block.notes
    return lines, notes


def _read(path: Path) -> tuple[int, list[Mapped]]:
    """How many images an evaluation has shown, and what of each network counts here."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return result["images"], [{key: row[key] for key in _OF_A_NETWORK} for row in result["networks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an evaluation of this program: {error}.") from error


def _line(block: Block, row: Row, images: int, members: Sequence[tuple[Run, Mapped]]) -> Line:
    condition = members[0][0].condition
    gains = [network["top1_gain"] for _, network in members if network["top1_gain"] is not None]
    return {
        "heading": f"{row_name(row)} on {block_title(block)} · {images:,} test images",
        "data": block.column.data,
        "augment": block.column.augment,
        "protocol": condition.protocol,
        "model": row.model,
        "settings": " ".join(f"{key}={value}" for key, value in row.variant),
        "train_images": condition.train_images,
        "batch_size": condition.batch_size,
        "epochs": condition.epochs,
        "test_images": images,
        "network": members[0][1]["network"],
        "seeds": " ".join(str(run.seed) for run, _ in members),
        "error": summarise([network["top1_error"] for _, network in members]),
        "gain": summarise(gains) if gains else None,
        "multiply_adds_ratio": members[0][1]["multiply_adds_ratio"],
    }


def markdown(lines: Sequence[Line], notes: Sequence[str]) -> str:
    """One table for each network that was trained, on each data in each way."""
    text: list[str] = []
    for heading, members in groupby(lines, key=lambda line: line["heading"]):
        text += ["", f"## {heading}", "", f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
        text += [f"| {' | '.join(_cells(line))} |" for line in members]
    note = (
        "± is the sample standard deviation over seeds, (n) their number. The same weights, not trained any "
        "further; gains are percentage points, positive is better; the interval is Student's, from 3 seeds on."
    )
    return "\n".join([*text[1:], *(part for note in (note, *notes) for part in ("", note)), ""])


def table(lines: Sequence[Line]) -> str:
    """The same as CSV, numbers in full."""
    out = StringIO()
    rows = [{key: value for row in _columns(line) for key, value in row.items()} for line in lines]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _cells(line: Line) -> list[str]:
    error, gain = line["error"], line["gain"]
    interval = gain.interval if gain else None
    return [
        line["network"],
        plus_minus(error.mean, error.std, error.n),
        plus_minus(gain.mean, gain.std, gain.n, with_sign=True) if gain else "",
        " … ".join(signed(bound) for bound in interval or ()),
        times(line["multiply_adds_ratio"]),
    ]


def _columns(line: Line) -> Iterator[dict[str, Any]]:
    for key, value in line.items():
        if key == "heading":
            continue
        if key not in ("error", "gain"):
            yield {key: value}
            continue
        summary: Summary | None = value
        low, high = (summary and summary.interval) or (None, None)
        yield {
            key: summary and summary.mean,
            f"{key}_std": summary and summary.std,
            f"{key}_low": low,
            f"{key}_high": high,
        }
