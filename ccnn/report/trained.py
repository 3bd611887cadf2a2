"""The report of trained networks: tables of errors and gains beside the paper's, with their notes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ccnn.report.cells import numbers, spreadsheet
from ccnn.report.format import duration, fixed, interval, plus_minus, quantity, setting, signed, times
from ccnn.report.group import TOLERANCE, Block, Grid
from ccnn.report.paper import BASELINES, C10, C10_PLAIN, C100, MNIST, NAMES, PARAMETERS, PaperTable, published
from ccnn.report.tables import MISSING, Report, Table, grouped

LEGEND = (
    "± is the sample standard deviation over seeds, (n) their number; gains are percentage points, paired by "
    "seed, and […] is Student's 95 % interval of the mean gain, from 3 pairs on; × is over the CNN."
)
_GAIN, _EQUAL = "gain over the CNN [95 %]", "gain at equal compute [95 %]"
_OF_THE_PAPER = ["paper", "difference", "paper's gain"]

_TITLES = {
    C10_PLAIN: "C10* (CIFAR-10 without augmentation)",
    C10: "C10 (CIFAR-10, shifted and flipped)",
    C100: "C100 (CIFAR-100, shifted and flipped)",
    MNIST[0]: "MNIST, no augmentation",
    MNIST[1]: "MNIST, shift",
    MNIST[2]: "MNIST, shift+rot",
}
"""The paper's names of its columns."""


def report(grid: Grid, table: PaperTable | None = None) -> Report:
    """Tabulates runs.

    Args:
        grid: of `arrange`.
        table: adds to the notes what else the paper's table holds.
    """
    cells = numbers(grid)
    tables = [
        _table(grid, number, cells[cells["block"] == number].reset_index(drop=True), table)
        for number in range(len(grid.blocks))
    ]
    return Report(tables, grid.general, spreadsheet(cells, grid.blocks))


def block_title(block: Block, conditions: bool = True) -> str:
    """Data and protocol, as the paper calls them or by their config names, and what else a table's runs share."""
    name = _TITLES.get(block.column, f"{block.data}, augment={block.augment}")
    if block == Block(*block.column):
        return f"{name} · no runs"
    best = ": best test epoch" if block.protocol == "paper" else ""
    parts = [name, f"protocol={block.protocol or 'not recorded'}{best}"]
    if conditions:
        parts += [
            f"{block.epochs or 'unknown number of'} epoch{'' if block.epochs == 1 else 's'}",
            f"{block.train_images:,} training images" if block.train_images else "training images not recorded",
            f"batches of {block.batch_size}" if block.batch_size else "batch size not recorded",
        ]
    return " · ".join(parts)


def _table(grid: Grid, number: int, cells: pd.DataFrame, table: PaperTable | None) -> Table:
    block, runs = grid.blocks[number], grid.runs[grid.runs["block"] == number]
    seeds = int(cells["test_error_n"].fillna(0).max())
    texts = pd.DataFrame([_texts(cell, seeds, _uncertain(runs, cell)) for cell in cells.to_dict("records")])
    texts.insert(0, "model", cells["row"])
    if not cells["published"].notna().any():
        texts = texts.drop(columns=_OF_THE_PAPER)
    if not cells["longer"].notna().any():
        texts = texts.drop(columns=[_EQUAL, "training compute"])
    notes = [
        *_parameters(block, cells),
        *_equal_compute(cells),
        *_unlike(cells),
        *_exceptions(cells, runs, texts),
        *grid.notes[number],
        *_besides(block, table),
    ]
    return Table(block_title(block), grouped(texts), [*notes, LEGEND] if cells["finished"].any() else notes)


def _texts(cell: dict[str, Any], seeds: int, uncertain: bool) -> dict[str, str]:
    """The texts of a line under the names of its columns; `seeds` is the most that any cell of the table has."""
    states = [
        (state, int(cell[state])) for state in ("failed", "interrupted", "running", "unfinished") if cell[state]
    ]
    total = int(cell["finished"]) + sum(count for _, count in states)
    error = plus_minus(cell["test_error"], cell["test_error_std"], cell["test_error_n"], of=seeds)
    parts = [error + ("§" if uncertain else "")] if error else []
    parts += [state if total == 1 else f"{state} ({count} of {total})" for state, count in states]
    relative, other_machine = cell["network"] != "CNN", "‡" if cell["machines"] > 1 else ""
    ratio = times(cell["training_time_ratio"])
    return {
        "network": cell["network"],
        "test error, %": "\n".join(parts) or MISSING,
        _GAIN: _gain(cell, "gain"),
        _EQUAL: _gain(cell, "equal_compute_gain"),
        "paper": fixed(cell["published"]) + (f" ± {cell['published_std']}" if cell["published_std"] > 0 else ""),
        "difference": signed(cell["difference"]) + ("†" if cell["unlike"] else ""),
        "paper's gain": signed(cell["published_gain"]),
        "multiply-adds": times(cell["multiply_adds_ratio"]) if relative else quantity(cell["multiply_adds"]),
        "training compute": times(cell["training_compute_ratio"])
        if relative
        else quantity(cell["training_compute"]),
        "training time": ratio + other_machine if ratio else duration(cell["training_seconds"]),
    }


def _gain(cell: dict[str, Any], name: str) -> str:
    if cell[f"{name}_n"] == 0:
        return f"{signed(cell[name])} unpaired"
    text = plus_minus(cell[name], cell[f"{name}_std"], cell[f"{name}_n"], sign=True)
    return f"{text}\n{interval((cell[f'{name}_low'], cell[f'{name}_high']))}".strip()


def _uncertain(runs: pd.DataFrame, cell: dict[str, Any]) -> bool:
    """Whether a cell's runs, together with those of its CNN, do not belong to one clean commit."""
    row = runs["row"].isin([cell["row"], cell["against"]])
    finished = runs[row & runs["network"].isin([cell["network"], "CNN"]) & runs["test/error"].notna()]
    changed = finished.get("git.changed", pd.Series(dtype=object))
    commits = finished.get("git.commit", pd.Series(dtype=object))
    return bool(changed.eq(True).any()) or commits.nunique() > 1


def _parameters(block: Block, cells: pd.DataFrame) -> list[str]:
    """The networks' parameters beside the published ones, and with what a network without a CNN is compared."""
    notes, listed, paper = [], [], False
    for row, own in cells.groupby("row", sort=False):
        model, count = own["model"].iloc[0], own["parameters"].max()
        known = PARAMETERS.get(model) if published(model, block.column) else None
        paper = paper or known is not None
        if count > 0 or known:
            text = f"{row} {count:,.0f}" if count > 0 else str(row)
            listed.append(f"{text} (paper: {known})" if known else text)
        if model in BASELINES and not (own["network"] == "CNN").any():
            notes.append(f"{row} is compared with the CNN of {NAMES[BASELINES[model]]}.")
    if listed:
        classes = " The paper counts those of ResNets with 10 classes." if paper and block.column == C100 else ""
        notes.insert(0, f"Parameters: {'; '.join(listed)}.{classes}")
    return notes


def _equal_compute(cells: pd.DataFrame) -> list[str]:
    """Which CNN each CCNN is compared with at equal compute."""
    compared = cells[cells["equal"].notna()]
    if compared.empty:
        return []
    pairs = [
        f"{', '.join(dict.fromkeys(own))} with {cnn}"
        for cnn, own in compared.groupby("equal", sort=False)["network"]
    ]
    return [f"Equal compute, training multiply-adds within {TOLERANCE * 100:.0f} %: {'; '.join(pairs)}."]


def _unlike(cells: pd.DataFrame) -> list[str]:
    """One note for all that is marked with †."""
    parts: list[str] = []
    for what, here, paper in dict.fromkeys(item for unlike in cells["unlike"] for item in unlike):
        counted = "number of " if what in ("epochs", "training images") else ""
        than = "" if parts else " than the paper's"
        parts.append(f"other {counted}{what}{than} ({setting(here)} instead of {setting(paper)})")
    return [f"† {', '.join(parts)}."] if parts else []


def _exceptions(cells: pd.DataFrame, runs: pd.DataFrame, texts: pd.DataFrame) -> list[str]:
    """What sets single cells and runs apart, and how many comparisons the table makes."""
    notes = [
        f"{cell['row']}, {cell['network']}: scored on a part of the test set (trainer.limit_test_batches="
        f"{cell['part_tested']}), so the paper's error does not stand beside it."
        for cell in cells.to_dict("records")
        if cell["part_tested"] is not None and not pd.isna(cell["part_tested"])
    ]
    if texts["training time"].str.contains("‡").any():
        notes.append("‡ training times of different machines.")
    if texts["test error, %"].str.contains("§").any():
        notes.append("§ runs of several commits, or of a working tree with uncommitted changes.")
    configured = runs["longer"].fillna(runs["epochs"])
    early = runs[runs["trained_epochs"].notna() & (runs["trained_epochs"] < configured)]
    for (row, network), own in early.groupby(["row", "network"], sort=False):
        epochs = ", ".join(str(count) for count in own["trained_epochs"])
        notes.append(f"{row}, {network}: {len(own)} stopped early, after {epochs} epochs.")
    for run in runs[~runs["state"].isin(["finished", "running"])].to_dict("records"):
        problem = f": {run['problem'].rstrip('.')}" if run["problem"] else ""
        notes.append(
            f"{run['row']}, {run['network']}, seed {run['seed']}: {run['state']}{problem} ({run['folder']})."
        )
    comparisons = int(cells["gain_low"].notna().sum() + cells["equal_compute_gain_low"].notna().sum())
    if comparisons > 1:
        notes.append(
            f"{comparisons} intervals of gains: by chance alone, one in 20 does not contain the true gain."
        )
    return notes


def _besides(block: Block, table: PaperTable | None) -> Sequence[str]:
    """What the paper's table holds besides networks of ours."""
    if table is None:
        return []
    column = table.columns.index(block.column)
    return [
        f"Published besides: {name}: {values[column]:.2f} %."
        for name, values in table.others.items()
        if values[column] is not None
    ]
