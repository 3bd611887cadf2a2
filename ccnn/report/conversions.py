"""Evaluations of several seeds as one table: what conversion gives networks that were trained plain."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ccnn.errors import UserError
from ccnn.report.numerals import plus_minus, signed, times
from ccnn.report.published import NAMES
from ccnn.report.statistics import Summary, summarise

COLUMNS = ("network", "top-1 error, %", "gain over the CNN", "95 % interval", "multiply-adds")


def gather(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Reads the evaluations in and below some folders, one line for each network of each of them.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    paths = sorted({path for folder in folders for path in folder.rglob("evaluation.json")})
    if not paths:
        raise UserError(
            f"{', '.join(map(str, folders))}: holds no evaluation.json, nor do the folders below; expected some "
            "that scripts/conversions.py wrote."
        )
    return [row for path in paths for row in _read(path)]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        shared = {
            "data": result["data"],
            "model": result["model"],
            "seed": result["config"]["seed"],
            "epochs": result["config"]["trainer"]["max_epochs"],
            "train_images": result["config"]["data"].get("train_images"),
            "test_images": result["images"],
            "run": result["run"],
        }
        return [
            shared
            | {
                key: row[key]
                for key in ("network", "top1_error", "top1_gain", "multiply_adds_ratio", "ms_per_image")
            }
            for row in result["networks"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an evaluation of this program: {error}.") from error


def summaries(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for each network: over the seeds, the mean error and the gain paired by seed."""
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("data", "model", "train_images", "epochs", "test_images", "network"))
        groups.setdefault(key, []).append(row)
    found = []
    for (data, model, images, epochs, tested, network), mine in groups.items():
        gains = [row["top1_gain"] for row in mine if row["top1_gain"] is not None]
        found.append({
            "data": data,
            "model": model,
            "train_images": images,
            "epochs": epochs,
            "test_images": tested,
            "network": network,
            "seeds": " ".join(str(row["seed"]) for row in mine),
            "error": summarise([row["top1_error"] for row in mine]),
            "gain": summarise(gains) if gains else None,
            "multiply_adds_ratio": mine[0]["multiply_adds_ratio"],
        })  # fmt: skip
    return found


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """One table for each data set and model."""
    text, title = [], ""
    for line in lines:
        heading = (
            f"## {NAMES.get(line['model'], line['model'])} on {line['data']}, trained for {line['epochs']} epochs"
        )
        if heading != title:
            title = heading
            text += ["", title, "", f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
        text.append(f"| {' | '.join(_cells(line))} |")
    note = (
        "± is the sample standard deviation over seeds, (n) their number. The same weights, not trained any "
        "further; gains are percentage points, positive is better; the interval is Student's, from 3 seeds on."
    )
    return "\n".join([*text[1:], "", note, ""])


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The same as CSV, numbers in full."""
    out = StringIO()
    rows = [{key: value for row in _columns(line) for key, value in row.items()} for line in lines]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _cells(line: Mapping[str, Any]) -> list[str]:
    error, gain = line["error"], line["gain"]
    interval = gain.interval if gain else None
    return [
        line["network"],
        plus_minus(error.mean, error.std, error.n),
        plus_minus(gain.mean, gain.std, gain.n, with_sign=True) if gain else "",
        " … ".join(signed(bound) for bound in interval or ()),
        times(line["multiply_adds_ratio"]),
    ]


def _columns(line: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for key, value in line.items():
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
