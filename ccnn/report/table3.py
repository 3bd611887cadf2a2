"""Gathers measurements of inference into the paper's Table 3, with what is missing."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccnn.errors import UserError
from ccnn.report.format import times
from ccnn.report.paper import IMAGENET_NAMES, INFERENCE
from ccnn.report.table2 import Gathered, files
from ccnn.report.tables import MISSING, Group, Sheet

HEADER = (
    *("form", "time, s", "×", "memory, GB", "×", "multiply-adds, G", "×"),
    *("paper: time, s", "×", "paper: memory, GB", "×"),
)
LEGEND = (
    "× is over the original network. Memory is that of tensors at the peak of a step, with the parameters; the "
    "paper's, on a GTX 1080 Ti, counts otherwise: compare ratios."
)
_FORMS = {
    "original": "original", "dilated": "dilated", "checkered, naive": "checkered", "checkered, lattice": None,
}  # fmt: skip
"""Forms of a network, and what the paper calls those that it has."""

_BATCH = "4"
_PLACE = ("network", "task", "batch")


def table3(folders: Sequence[Path]) -> Gathered:
    """Table 3 from the table3.csv files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    found: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    notes: list[str] = []
    for path in files(folders, "table3.csv", "python train.py -m experiment=table3"):
        measured = _read(path)
        for place in {tuple(row[key] for key in _PLACE) for row in measured}:
            if place in found:
                notes.append(f"{' '.join(place[:2])}, batch {place[2]}: several, the newest counts, {path}.")
            found[place] = {row["form"]: row for row in measured if tuple(row[key] for key in _PLACE) == place}
    sheets, rows = [], []
    for task, batch in sorted({("inference", _BATCH), *((task, batch) for _, task, batch in found)}):
        groups, problems = [], []
        for network, paper in INFERENCE.items():
            forms = found.get((network, task, batch), {})
            lines = [_line(network, task, batch, form, forms, paper) for form in _FORMS]
            rows += lines
            name = IMAGENET_NAMES[network]
            groups.append(Group(name, tuple(_cells(line) for line in lines)))
            problems += [f"{name}, {line['form']}: {line['note'].rstrip('.')}." for line in lines if line["note"]]
        sheets.append(Sheet(f"Table 3: {task}, batches of {batch}", HEADER, tuple(groups), tuple(problems)))
    return Gathered(tuple(sheets), tuple(notes), LEGEND, tuple(rows))


_KEYS = {"time, s": "seconds", "memory, MB": "memory_mb", "multiply-adds, G": "multiply_adds_g"}


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            missing = {*_PLACE, "form", "note", *_KEYS} - {key for key, value in row.items() if value is not None}
            if missing:
                raise ValueError(f"it has no {', '.join(sorted(missing))}")
            for key in _KEYS:
                float(row[key] or 0)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a measurement of this program: {error}.") from error
    return [row for row in rows if row["network"] in INFERENCE]


def _line(
    network: str, task: str, batch: str, form: str, forms: dict[str, dict[str, str]], paper: Any
) -> dict[str, Any]:
    """A row of the CSV: what was measured of a form, and what the paper has of it."""

    def number(key: str, of: str) -> float | None:
        return float(forms[of][key]) if of in forms and forms[of][key] else None

    line: dict[str, Any] = {"network": network, "task": task, "batch": int(batch), "form": form}
    for key, name in _KEYS.items():
        value, base = number(key, form), number(key, "original")
        line |= {name: value, f"{name}_ratio": value / base if value and base else None}
    published = paper[_FORMS[form]] if _FORMS[form] and (task, batch) == ("inference", _BATCH) else None
    original = paper["original"]
    return line | {
        "published_seconds": published and published.seconds,
        "published_seconds_ratio": published and published.seconds / original.seconds,
        "published_gigabytes": published and published.gigabytes,
        "published_gigabytes_ratio": published and published.gigabytes / original.gigabytes,
        "note": forms[form]["note"] if form in forms else "",
    }


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    measured = [line["seconds"], line["memory_mb"] and line["memory_mb"] / 1000, line["multiply_adds_g"]]
    if not any(measured):
        shown = [MISSING, *[""] * 5]
    else:
        ratios = [line[f"{name}_ratio"] for name in _KEYS.values()]
        shown = [
            cell for value, ratio in zip(measured, ratios, strict=True) for cell in (text(value), times(ratio))
        ]
        shown[0] = shown[0] or "not run"
    return (
        line["form"],
        *shown,
        text(line["published_seconds"]),
        times(line["published_seconds_ratio"]),
        text(line["published_gigabytes"]),
        times(line["published_gigabytes_ratio"]),
    )
