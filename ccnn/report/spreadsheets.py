"""The report as CSV, with numbers as they are: one file of cells, one of runs."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from ccnn.report.cells import Result, results
from ccnn.report.group import Block
from ccnn.report.reading import flatten
from ccnn.report.runs import Run

STATES = ("finished", "failed", "running", "interrupted", "unfinished")


def cells(blocks: Sequence[Block]) -> str:
    """One row per cell. Errors are percent, differences and gains percentage points, times seconds."""
    return csv_text([_cell(line) for block in blocks for line in results(block)])


def runs_table(runs: Iterable[Run]) -> str:
    """One row per run: what was run, all its metrics, and what it ran on."""
    return csv_text([_run(run) for run in sorted(runs, key=lambda run: str(run.folder))])


def _cell(line: Result) -> dict[str, Any]:
    summary = line.gain.summary if line.gain else None
    low, high = (summary and summary.interval) or (None, None)
    equal = line.equal_gain.summary if line.equal_gain else None
    equal_low, equal_high = (equal and equal.interval) or (None, None)
    protocol, epochs, images, batch_size = line.block.condition or (None,) * 4
    return {
        "data": line.block.column.data,
        "augment": line.block.column.augment,
        "protocol": protocol,
        "epochs": line.network if isinstance(line.network, int) else epochs,
        "train_images": images,
        "batch_size": batch_size,
        "model": line.row.model,
        "settings": " ".join(f"{key}={value}" for key, value in line.row.variant),
        "convert": isinstance(line.network, str),
        "sampling": line.network if isinstance(line.network, str) else None,
        "seeds": " ".join(str(run.seed) for run in line.runs if run.finished),
        **{state: line.states[state] for state in STATES},
        "test_error": line.error and line.error.mean,
        "test_error_std": line.error and line.error.std,
        "gain": line.gain and line.gain.difference,
        "gain_std": summary and summary.std,
        "gain_pairs": (summary.n if summary else 0) if line.gain else None,
        "gain_low": low,
        "gain_high": high,
        "equal_compute_epochs": line.equal_gain and (line.equal or epochs),
        "equal_compute_gain": line.equal_gain and line.equal_gain.difference,
        "equal_compute_gain_std": equal and equal.std,
        "equal_compute_gain_pairs": (equal.n if equal else 0) if line.equal_gain else None,
        "equal_compute_gain_low": equal_low,
        "equal_compute_gain_high": equal_high,
        "published": line.published,
        "published_std": line.spread,
        "difference": line.difference,
        "published_gain": line.published_gain,
        "unlike_paper": "; ".join(f"{what}: {here} instead of {paper}" for what, here, paper in line.unlike),
        "multiply_adds": line.multiply_adds,
        "multiply_adds_ratio": line.multiply_adds_ratio,
        "training_compute": line.training_compute,
        "training_compute_ratio": line.compute_ratio,
        "training_seconds": line.seconds,
        "training_time_ratio": line.time_ratio,
    }


def _run(run: Run) -> dict[str, Any]:
    protocol, epochs, images, batch_size = run.condition
    known = {
        "folder": str(run.folder),
        "state": run.state,
        "problem": run.problem,
        "model": run.model,
        "data": run.column.data,
        "augment": run.column.augment,
        "convert": run.sampling is not None,
        "sampling": run.sampling,
        "seed": run.seed,
        "protocol": protocol,
        "epochs": epochs,
        "train_images": images,
        "batch_size": batch_size,
    }
    environment = {key: value for key, value in run.environment.items() if key != "seed"}
    return known | {k: v for k, v in flatten(run.metrics) if k not in known} | dict(flatten(environment))


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """All rows, under all keys that any of them has, in the order in which they appear."""
    text, rows = StringIO(), list(rows)
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
