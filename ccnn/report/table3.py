"""The paper's Table 3, the cost of inference with original, dilated and checkered networks, from measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.errors import UserError
from ccnn.report.format import times
from ccnn.report.paper import IMAGENET_NAMES, INFERENCE
from ccnn.report.table2 import files
from ccnn.report.tables import MISSING, Report, Table, grouped

_LEGEND = (
    "× is over the original network. Memory is that of tensors at the peak of a step, with the parameters; the "
    "paper's, on a GTX 1080 Ti, counts otherwise: compare ratios."
)
_FORMS = {
    "original": "original",
    "dilated": "dilated",
    "checkered, naive": "checkered",
    "checkered, lattice": None,
}
"""Forms of a network, and what the paper calls those that it has."""

_PLACE = ["network", "task", "batch"]
_MEASURED = {"time, s": "seconds", "memory, MB": "memory_mb", "multiply-adds, G": "multiply_adds_g"}
_RATIOS = [f"{name}_ratio" for name in _MEASURED.values()]
_PAPERS = (("inference", 4),)
"""The task and the batch size of the paper's table."""


def table3(folders: Sequence[Path]) -> Report:
    """Table 3 from the table3.csv files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    found: dict[tuple[Any, ...], pd.DataFrame] = {}
    notes: list[str] = []
    for path in files(folders, "table3.csv", "python train.py -m experiment=table3"):
        for place, measured in _read(path).groupby(_PLACE):
            if place in found:
                notes.append(f"{place[0]} {place[1]}, batch {place[2]}: several, the newest counts, {path}.")
            found[place] = measured
    tables, everything = [], []
    for task, batch in sorted({*_PAPERS, *((task, batch) for _, task, batch in found)}):
        rows = pd.concat([_rows(network, task, batch, found.get((network, task, batch))) for network in INFERENCE])
        everything.append(rows)
        texts = pd.DataFrame([_texts(row) for row in rows.to_dict("records")])
        problems = [
            f"{IMAGENET_NAMES[row['network']]}, {row['form']}: {row['note'].rstrip('.')}."
            for row in rows.to_dict("records")
            if row["note"]
        ]
        tables.append(Table(f"Table 3: {task}, batches of {batch}", grouped(texts), [*problems, _LEGEND]))
    return Report(tables, notes, pd.concat(everything))


def _read(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype={"note": str})
        if missing := {*_PLACE, "form", "note", *_MEASURED} - {*rows.columns}:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        rows = rows.astype(dict.fromkeys(_MEASURED, float)).rename(columns=_MEASURED)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a measurement of this program: {error}.") from error
    return rows[rows["network"].isin(INFERENCE)]


def _rows(network: str, task: str, batch: int, measured: pd.DataFrame | None) -> pd.DataFrame:
    """A network's rows of the CSV: what was measured of each form, beside the paper's numbers."""
    rows = pd.DataFrame({"network": network, "task": task, "batch": batch, "form": list(_FORMS)}).set_index("form")
    names = [*_MEASURED.values(), "note"]
    own = pd.DataFrame(columns=names) if measured is None else measured.set_index("form")[names]
    rows = rows.join(own).astype(dict.fromkeys(_MEASURED.values(), float))
    rows[_RATIOS] = rows[list(_MEASURED.values())] / rows.loc["original", list(_MEASURED.values())].astype(float)
    paper = INFERENCE[network] if (task, batch) in _PAPERS else {}
    costs = {form: paper[name] for form, name in _FORMS.items() if name in paper}
    for key in ("seconds", "gigabytes"):
        values = pd.Series({form: getattr(cost, key) for form, cost in costs.items()}, dtype=float).reindex(
            rows.index
        )
        rows[f"published_{key}"], rows[f"published_{key}_ratio"] = values, values / values["original"]
    rows["note"] = rows["note"].fillna("")
    return rows.reset_index()[[*_PLACE, "form", *(c for c in rows.columns if c not in (*_PLACE, "note")), "note"]]


def _texts(row: dict[str, Any]) -> dict[str, str]:
    measured = {
        "time, s": (row["seconds"], row["seconds_ratio"]),
        "memory, GB": (row["memory_mb"] / 1000, row["memory_mb_ratio"]),
        "multiply-adds, G": (row["multiply_adds_g"], row["multiply_adds_g_ratio"]),
        "paper: time, s": (row["published_seconds"], row["published_seconds_ratio"]),
        "paper: memory, GB": (row["published_gigabytes"], row["published_gigabytes_ratio"]),
    }
    texts = {"network": IMAGENET_NAMES[row["network"]], "form": row["form"]}
    for name, (value, ratio) in measured.items():
        texts[name] = "" if pd.isna(value) else f"{value:.3g} ({times(ratio)})"
    if not texts["time, s"]:
        texts["time, s"] = "not run" if texts["multiply-adds, G"] else MISSING
    return texts
