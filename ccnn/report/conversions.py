"""What conversion alone gives trained CNNs: evaluations of several seeds as one table."""

from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.evaluation.record import RESULT, EvaluationRecord
from ccnn.report.cells import summarise
from ccnn.report.evaluation import numbers
from ccnn.report.format import interval, plus_minus, times
from ccnn.report.group import Grid, arrange
from ccnn.report.tables import Report, Table
from ccnn.report.trained import block_title

FOLDER = "conversions"
"""In a run's folder: where its evaluation is."""

_LEGEND = (
    "± is the sample standard deviation over seeds, (n) their number. The same weights, not trained any further; "
    "gains are percentage points, and […] is Student's 95 % interval, from 3 seeds on."
)
_CELL = ["block", "row", "test_images", "network"]


def trained_cnns(runs: pd.DataFrame) -> Grid:
    """The finished CNNs among some runs, without those trained for longer at a CCNN's compute."""
    grid = arrange(runs)
    chosen = grid.runs["test/error"].notna() & (grid.runs["network"] == "CNN")
    return Grid(grid.blocks, grid.cells, grid.runs[chosen], grid.notes, grid.general)


def report(grid: Grid) -> Report:
    """Tabulates evaluations: for each network the mean error over seeds, and the gain paired by seed.

    Args:
        grid: of `trained_cnns`, each of them evaluated into the folder `conversions` of its own.

    Raises:
        UserError: an evaluation is missing or cannot be read.
    """
    scores = pd.DataFrame(
        {**score, **{name: run[name] for name in ("block", "row", "seed")}}
        for run in grid.runs.to_dict("records")
        for score in numbers(EvaluationRecord.read(Path(run["folder"]) / FOLDER / RESULT))
    ).rename(columns={"images": "test_images"})
    by = scores.groupby(_CELL, sort=False)
    rows = summarise(by["top1_error"], "error").join(summarise(by["top1_gain"], "gain"))
    rows["multiply_adds_ratio"] = by["multiply_adds_ratio"].first()
    rows["seeds"] = by["seed"].agg(lambda seeds: " ".join(map(str, seeds)))
    variants = grid.cells.drop_duplicates(["block", "row"]).set_index(["block", "row"])[["model", "variant"]]
    rows = rows.reset_index().join(variants, on=["block", "row"]).sort_values("block", kind="stable")
    tables = []
    for (block, row, images), own in rows.groupby(_CELL[:3], sort=False):
        title = f"{row} on {block_title(grid.blocks[block])} · {images:,} test images"
        tables.append(Table(title, pd.DataFrame([_texts(line) for line in own.to_dict("records")]), [_LEGEND]))
    table = pd.DataFrame([grid.blocks[block]._asdict() for block in rows["block"]], index=rows.index).join(
        rows.rename(columns={"variant": "settings"})[
            ["model", "settings", "test_images", "network", "seeds",
             *(f"{name}{part}" for name in ("error", "gain") for part in ("", "_std", "_low", "_high")),
             "multiply_adds_ratio"]
        ]
    )  # fmt: skip
    return Report(tables, [*(note for notes in grid.notes for note in notes), *grid.general], table)


def _texts(line: dict[str, Any]) -> dict[str, str]:
    return {
        "network": line["network"],
        "top-1 error, %": plus_minus(line["error"], line["error_std"], line["error_n"]),
        "gain over the CNN": plus_minus(line["gain"], line["gain_std"], line["gain_n"], sign=True),
        "95 % interval": interval((line["gain_low"], line["gain_high"])),
        "multiply-adds": times(line["multiply_adds_ratio"]),
    }
