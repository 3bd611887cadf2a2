"""The numbers of each cell: error over seeds, gain over the CNN, distance to the paper, cost."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ccnn.report.group import CELL, Block, Grid, same_compute
from ccnn.report.paper import BASELINES, SAMPLING, SPREADS, published
from ccnn.report.recipe import differences, part_tested
from ccnn.report.records import CONFIG

STATES = ("finished", "failed", "running", "interrupted", "unfinished")
ERROR = "test/error"
PARTS = ("std", "n", "low", "high")
_MEANS = ["multiply_adds", "multiply_adds_ratio", "compute", "training_seconds", "parameters"]


def summarise(values: Any, name: str) -> pd.DataFrame:
    """Mean, spread and confidence of each group of a grouped column.

    Args:
        values: a `SeriesGroupBy`.
        name: of the column with the mean. With `_std`, `_n`, `_low` and `_high` behind it are the sample standard
            deviation (NaN for one value), the number of values, and Student's 95 % interval of the mean, NaN for
            fewer than 3 values: too few to tell.

    Example:
        >>> frame = pd.DataFrame({"network": ["CNN"] * 3, "error": [1.0, 2.0, 3.0]})
        >>> summarise(frame.groupby("network")["error"], "error").round(2).loc["CNN"].to_dict()
        {'error': 2.0, 'error_std': 1.0, 'error_n': 3.0, 'error_low': -0.48, 'error_high': 4.48}

    """
    table = values.agg(["mean", "std", "count"])
    half = stdtrit((table["count"] - 1).clip(lower=1), 0.975) * table["std"] / np.sqrt(table["count"])
    half = half.where(table["count"] >= 3)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    return table.set_axis([name, *(f"{name}_{part}" for part in PARTS)], axis=1)


def numbers(grid: Grid) -> pd.DataFrame:
    """One row for each cell. Errors in percent, gains and differences in percentage points; NaN: unknown.

    Columns besides those of `Grid.cells`: `test_error` and `gain`, over the CNN, as `summarise` has them; `equal`,
    the CNN whose training cost what this CCNN's did, and `equal_compute_gain` over it; `published`,
    `published_std`, `difference`, `published_gain` and `unlike` (how the training differs from the paper's);
    `multiply_adds` per image, `training_compute` and `training_seconds`, each also as a ratio to the CNN's;
    `seeds`, the states, and `machines`, how many kinds of machine the two times were measured on.
    """
    runs = grid.runs.assign(compute=grid.runs["compute"])
    for name in (ERROR, *_MEANS):
        runs[name] = pd.to_numeric(runs[name]) if name in runs else np.nan
    done = runs[runs[ERROR].notna()]
    by = done.groupby(CELL)
    cells = grid.cells.set_index(CELL).assign(cnn="CNN")
    states = pd.crosstab([runs[name] for name in CELL], runs["state"]).reindex(columns=list(STATES))
    cells = cells.join([summarise(by[ERROR], "test_error"), by[_MEANS].mean(), states])
    cells = cells.fillna(dict.fromkeys(STATES, 0)).rename(columns={"compute": "training_compute"})
    cells["seeds"] = by["seed"].agg(lambda seeds: " ".join(map(str, seeds)))
    cells["equal"] = [_equal(cells, key, cell) for key, cell in cells.iterrows()]
    cells = cells.join([_gain(done, cells, "cnn", "gain"), _gain(done, cells, "equal", "equal_compute_gain")])

    own = cells.index.get_level_values("network") == "CNN"  # which is compared with nothing
    for ratio, column in (("training_compute", "training_compute"), ("training_time", "training_seconds")):
        cells[f"{ratio}_ratio"] = (cells[column] / _of(cells, column, "cnn")).mask(own)
    # Without a CNN, the run itself knows what its network costs plain.
    to_cnn = (cells["multiply_adds"] / _of(cells, "multiply_adds", "cnn")).fillna(cells["multiply_adds_ratio"])
    cells["multiply_adds_ratio"] = to_cnn.mask(own)
    cells["machines"] = _machines(done, cells)
    paper = [_paper(grid.blocks[key[0]], cell, _settings(grid.runs, key)) for key, cell in cells.iterrows()]
    floats = dict.fromkeys(("published", "published_std", "published_gain"), float)
    cells = cells.join(pd.DataFrame(paper, index=cells.index).astype(floats))
    cells["difference"] = cells["test_error"] - cells["published"]
    return cells.reset_index()


def spreadsheet(cells: pd.DataFrame, blocks: Sequence[Block]) -> pd.DataFrame:
    """The numbers of `numbers` as table.csv has them, each row complete in itself."""
    table = pd.DataFrame([blocks[number]._asdict() for number in cells["block"]], dtype=object)
    longer = cells["longer"].notna()
    table.loc[longer, "epochs"] = cells.loc[longer, "longer"]
    renamed = cells.rename(columns={"variant": "settings", "gain_n": "gain_pairs"}).assign(
        convert=cells["sampling"].notna(),
        equal_compute_epochs=table["epochs"].where(
            cells["equal"] == "CNN", cells["equal"].str.extract(r"(\d+)")[0]
        ),
        equal_compute_gain_pairs=cells["equal_compute_gain_n"],
        unlike_paper=[
            "; ".join(f"{what}: {here} instead of {paper}" for what, here, paper in unlike)
            for unlike in cells["unlike"]
        ],
    )
    names = (
        *("model", "settings", "convert", "sampling", "seeds", *STATES, "test_error", "test_error_std"),
        *("gain", "gain_std", "gain_pairs", "gain_low", "gain_high", "equal_compute_epochs"),
        *(f"equal_compute_gain{part}" for part in ("", "_std", "_pairs", "_low", "_high")),
        *("published", "published_std", "difference", "published_gain", "unlike_paper", "multiply_adds"),
        *("multiply_adds_ratio", "training_compute", "training_compute_ratio", "training_seconds"),
        "training_time_ratio",
    )
    return table.join(renamed[list(names)])


def _others(cells: pd.DataFrame, network: str) -> dict[Any, Any]:
    """For each cell the one of the row that it is compared with, of the network in its column `network`."""
    return {key: (key[0], cell["against"], cell[network]) for key, cell in cells.iterrows()}


def _of(cells: pd.DataFrame, column: str, network: str) -> pd.Series:
    """For each cell a number of that other one."""
    known = cells[column].to_dict()
    return pd.Series(
        {key: known.get(other, np.nan) for key, other in _others(cells, network).items()}, dtype=float
    )


def _gain(done: pd.DataFrame, cells: pd.DataFrame, network: str, name: str) -> pd.DataFrame:
    """The error of another network minus the cell's own, paired by seed where they share any.

    Equal seeds mean equal initial weights, batches and augmentation, so pairs vary less than the errors do.
    Without common seeds it is the difference of the two means, of 0 pairs.
    """
    errors = {key: runs.set_index("seed")[ERROR] for key, runs in done.groupby(CELL)}
    pairs = {key: errors[other] - errors[key] for key, other in _others(cells, network).items()
             if key in errors and other in errors and key != other}  # fmt: skip
    if not pairs:
        return pd.DataFrame(columns=[name, *(f"{name}_{part}" for part in PARTS)], index=cells.index, dtype=float)
    gains = summarise(pd.concat(pairs, names=CELL).groupby(CELL), name).reindex(cells.index)
    gains[name] = gains[name].fillna((_of(cells, "test_error", network) - cells["test_error"])[list(pairs)])
    return gains


def _equal(cells: pd.DataFrame, key: Any, cell: pd.Series) -> str | None:
    """The CNN whose training cost what a CCNN's did, in a row with CNNs of several lengths."""
    if cell["sampling"] is None:
        return None
    row = cells[(cells.index.get_level_values("block") == key[0]) & cells["sampling"].isna()]
    costs = row.loc[row.index.get_level_values("row") == cell["against"], "training_compute"].dropna()
    alike = {name: abs(cost - cell["training_compute"]) for (_, _, name), cost in costs.items()
             if same_compute(cell["training_compute"], cost)}  # fmt: skip
    return min(alike, key=lambda name: alike[name]) if alike and len(costs) > 1 else None


def _machines(done: pd.DataFrame, cells: pd.DataFrame) -> list[int]:
    """How many kinds of machine a cell's runs and those of its CNN were timed on."""
    machines = done.reindex(columns=["gpus", "processor", "threads"]).astype(str).agg(", ".join, axis=1)
    kinds = {key: {*own} for key, own in machines.groupby([done[name] for name in CELL])}
    return [len(kinds.get(key, set()) | kinds.get(cnn, set())) for key, cnn in _others(cells, "cnn").items()]


def _settings(runs: pd.DataFrame, key: Any) -> dict[str, Any]:
    """The settings of a cell's runs, which they have in common; empty if no config.yaml was read."""
    inside = runs[(runs[CELL] == list(key)).all(axis=1)].filter(regex=rf"^{re.escape(CONFIG)}")
    known = inside.dropna(how="all").rename(columns=lambda name: name.removeprefix(CONFIG))
    return {} if known.empty else known.iloc[0].dropna().to_dict()


def _paper(block: Block, cell: pd.Series, settings: dict[str, Any]) -> dict[str, Any]:
    """The paper's numbers of a cell, if it has them and the runs say enough to stand beside them."""
    errors = published(cell["model"], block.column)
    plain = published(BASELINES.get(cell["model"], cell["model"]), block.column)
    value = gain = part = None
    stated = block == Block(*block.column) or None not in (block.protocol, block.epochs)
    if errors and stated and not cell["longer"] and cell["sampling"] in (None, SAMPLING):
        value = errors.cnn if cell["sampling"] is None else errors.ccnn
        part = part_tested(settings) if value is not None else None
        value = value if part is None else None
        if cell["sampling"] and value and plain and plain.cnn:
            gain = round(plain.cnn - value, 2)
    return {
        "published": value,
        "published_std": SPREADS.get((cell["model"], block.column, cell["sampling"] is not None))
        if value
        else None,
        "published_gain": gain,
        "unlike": differences(block, settings) if value and cell["finished"] > 0 else (),
        "part_tested": part,
    }
