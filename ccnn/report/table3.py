"""The paper's Table 3, the cost of inference with original, dilated and checkered networks, from measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.errors import UserError
from ccnn.report.format import times
from ccnn.report.paper import IMAGENET_NAMES, INFERENCE
from ccnn.report.tables import MISSING, Report, Table, find_files, grouped

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
_PAPER = (("inference", 4),)
"""The task and the batch size of the paper's table."""


def table3(folders: Sequence[Path]) -> Report:
    """Table 3 from the table3.csv files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    files = find_files(folders, "table3.csv", "python train.py -m experiment=table3")
    measured = pd.concat([_read(path).assign(file=number) for number, path in enumerate(files)])
    newest = measured.groupby(_PLACE)["file"].transform("max")
    notes = [
        f"{network} {task}, batch {batch}: several, the newest counts, {files[file]}."
        for (network, task, batch), own in measured.groupby(_PLACE)
        if (file := own["file"].max()) != own["file"].min()
    ]
    measured = measured[measured["file"] == newest]
    places = sorted({*_PAPER, *zip(measured["task"], measured["batch"], strict=True)})
    numbers = [_beside_the_papers(measured, task, batch) for task, batch in places]
    tables = []
    for (task, batch), rows in zip(places, numbers, strict=True):
        lines = rows.to_dict("records")
        problems = [
            f"{IMAGENET_NAMES[row['network']]}, {row['form']}: {row['note'].rstrip('.')}."
            for row in lines
            if row["note"]
        ]
        texts = grouped(pd.DataFrame([_texts(row) for row in lines]))
        tables.append(Table(f"Table 3: {task}, batches of {batch}", texts, [*problems, _LEGEND]))
    return Report(tables, notes, pd.concat(numbers))


def _read(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype={"note": str})
        if missing := {*_PLACE, "form", "note", *_MEASURED} - {*rows.columns}:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        rows = rows.astype(dict.fromkeys(_MEASURED, float)).rename(columns=_MEASURED)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a measurement of this program: {error}.") from error
    return rows[rows["network"].isin(INFERENCE)]


def _beside_the_papers(measured: pd.DataFrame, task: str, batch: int) -> pd.DataFrame:
    """What was measured of each form of each network, beside the paper's numbers, each with its ratio."""
    papers = (task, batch) in _PAPER
    rows = pd.DataFrame(
        {
            "network": network,
            "task": task,
            "batch": batch,
            "form": form,
            "published_seconds": costs[name].seconds if papers and name else None,
            "published_gigabytes": costs[name].gigabytes if papers and name else None,
        }
        for network, costs in INFERENCE.items()
        for form, name in _FORMS.items()
    )
    rows = rows.merge(measured[[*_PLACE, "form", *_MEASURED.values(), "note"]], "left", [*_PLACE, "form"])
    values = rows[[*_MEASURED.values(), "published_seconds", "published_gigabytes"]].astype(float)
    originals = values[rows["form"] == "original"].set_index(rows["network"][rows["form"] == "original"])
    ratios = values / originals.loc[rows["network"]].set_axis(rows.index)
    rows = rows.assign(note=rows["note"].fillna("")).join(ratios.add_suffix("_ratio"))
    return rows[[*(name for name in rows if name != "note"), "note"]]


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
