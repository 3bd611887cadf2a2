"""Assigns each run to a table, a row and a cell, so that all runs of a cell can be compared."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from ccnn.errors import UserError
from ccnn.report.paper import BASELINES, NAMES, SAMPLING, TABLES, Column, PaperTable
from ccnn.report.records import CONFIG

Run = dict[str, Any]
CELL = ["block", "row", "network"]

TOLERANCE = 0.05
"""Two trainings are of equal compute if their multiply-adds differ by no more than this part."""


class Block(NamedTuple):
    """What all runs of one table have in common; None where a run does not say, or there is no run."""

    data: str
    augment: str
    protocol: str | None = None
    epochs: int | None = None
    train_images: int | None = None
    batch_size: int | None = None

    @property
    def column(self) -> Column:
        """The data set and its augmentation, a column of the paper's tables."""
        return Column(self.data, self.augment)


@dataclass(frozen=True)
class Grid:
    """Runs in their cells.

    Attributes:
        blocks: what the runs of each table have in common.
        cells: one row for each cell, in order: `block` (number), `row` and `network` (names), `model`, `variant`,
            `sampling` (None: a CNN), `longer` (epochs of a CNN shown among runs of fewer epochs because its
            training cost as much as a CCNN's) and `against` (the row whose CNN a cell is compared with).
        runs: those that count, one for each seed of a cell, with the columns of CELL, `compute` and `longer`.
        notes: on single runs, for each block.
        general: notes on the whole.
    """

    blocks: Sequence[Block]
    cells: pd.DataFrame
    runs: pd.DataFrame
    notes: Sequence[Sequence[str]]
    general: Sequence[str]


def arrange(runs: pd.DataFrame, table: PaperTable | None = None) -> Grid:
    """Arranges runs: all of them, or as a table of the paper.

    Args:
        runs: of `read_runs`.
        table: fixes tables and rows, so that missing cells show; runs that do not belong to it are left out.

    Raises:
        UserError: no run belongs to the table.
    """
    general = []
    members = [{str(key): value for key, value in run.items()} for run in runs.to_dict("records")]
    if table:
        own = [
            run
            for run in members
            if Column(run["data"], run["augment"]) in table.columns and run["model"] in table.errors
        ]
        if members and not own:
            present = ", ".join(dict.fromkeys(f"{run['model']} on {run['data']}" for run in members))
            raise UserError(
                f"--table: none of the {len(members)} runs has a model and a data set of this table; there are "
                f"{present}. Leave --table out to see them."
            )
        if others := len(members) - len(own):
            general.append(f"Left out: {others} of {len(members)} runs, of no model and data set of this table.")
        members = own
    commits = Counter(str(run.get("git.commit") or "unknown")[:12] for run in members)
    if len(commits) > 1:
        each = ", ".join(f"{commit} ({count})" for commit, count in commits.most_common())
        general.append(f"The runs are of several commits: {each}.")
    for run in members:
        run |= {"block": Block(*(run[name] for name in Block._fields)), "longer": None, "compute": _compute(run)}
    _adopt(members)
    _set_beside(members)
    missing = [Block(*column) for column in table.columns] if table else []
    filled = {run["block"].column for run in members}
    blocks = sorted(
        {run["block"] for run in members} | {block for block in missing if block.column not in filled},
        key=_block_order,
    )
    cells = [
        cell
        for number, block in enumerate(blocks)
        for cell in _cells(number, block, [run for run in members if run["block"] == block], table)
    ]
    columns = dict.fromkeys([*runs.columns, *CELL, "longer", "compute"])
    frame = pd.DataFrame(members, columns=list(columns), dtype=object)
    frame["block"] = [blocks.index(block) for block in frame["block"]]
    chosen, notes = _one_for_each_seed(frame)
    in_order = [notes.get(number, []) for number in range(len(blocks))]
    return Grid(blocks, pd.DataFrame(cells, dtype=object), chosen, in_order, general)


def same_compute(one: float | None, other: float | None) -> bool:
    """Whether two trainings cost the same multiply-adds, within 5 %.

    >>> same_compute(100.0, 104.0), same_compute(100.0, 106.0), same_compute(None, 100.0)
    (True, False, False)
    """
    return bool(one and other and abs(one / other - 1) <= TOLERANCE)


def network_name(sampling: str | None, longer: int | None = None) -> str:
    """What tables call a network.

    >>> network_name(None), network_name(None, 480), network_name("lattice skip_first=1")
    ('CNN', 'CNN, 480 epochs', 'CCNN lattice skip_first=1')
    """
    if sampling is not None:
        return f"CCNN {sampling}"
    return f"CNN, {longer} epochs" if longer else "CNN"


def network_order(name: str) -> tuple[int, int, str]:
    """Sorts networks: the CNN, CNNs by their epochs, the paper's CCNN, others."""
    if name.startswith("CNN"):
        return 0, int(name.split()[1]) if "," in name else 0, ""
    return (1 if name == network_name(SAMPLING) else 2), 0, name


def _compute(run: Run) -> float | None:
    """Multiply-adds of the forward passes of a whole training; None if the run does not say enough."""
    each, method = run.get("multiply_adds"), (run["sampling"] or "").partition(" ")[0]
    if method == "stochastic":  # multiply_adds is that of the method it has in evaluation
        each = run.get("plain_multiply_adds")
    elif method == "random" and "evaluation=" in run["sampling"]:
        each = None
    epochs, images = run["trained_epochs"] or run["epochs"], run["train_images"]
    # A run of an older version does not say how many images its steps have seen.
    seen = run.get("images_seen") or (images and epochs and images * epochs)
    return float(each * seen) if each and seen else None


def _adopt(runs: Sequence[Run]) -> None:
    """Puts unfinished runs, which do not say how many images they train on, with the runs that are like them."""
    known: dict[Block, set[Block]] = {}
    for run in runs:
        if run["train_images"] is not None:
            known.setdefault(run["block"]._replace(train_images=None), set()).add(run["block"])
    for run in runs:
        alike = known.get(run["block"], set())
        if run["test/error"] is None and len(alike) == 1:
            run["block"] = next(iter(alike))


def _set_beside(runs: Sequence[Run]) -> None:
    """Puts CNNs that were trained for longer into the table of the CCNNs that cost the same.

    A CNN keeps its own table if there are CCNNs with as many epochs, or none of its compute.
    """
    converted: dict[Any, dict[Block, set[float | None]]] = {}
    for run in runs:
        if run["sampling"] is not None:
            converted.setdefault(_family(run), {}).setdefault(run["block"], set()).add(run["compute"])
    targets: dict[Any, Block] = {}
    for run in runs:
        beside = converted.get(_family(run), {})
        if run["sampling"] is None and run["block"] not in beside:
            for block, costs in beside.items():
                if any(same_compute(run["compute"], cost) for cost in costs):
                    targets.setdefault((_family(run), run["block"]), block)
    for run in runs:
        target = targets.get((_family(run), run["block"]))
        if target is not None and run["sampling"] is None:
            run["longer"], run["block"] = run["block"].epochs, target


def _family(run: Run) -> tuple[Any, ...]:
    """What a CNN has in common with the CCNNs that it is compared with."""
    return BASELINES.get(run["model"], run["model"]), run["block"]._replace(epochs=None)


def _cells(number: int, block: Block, runs: Sequence[Run], table: PaperTable | None) -> list[Run]:
    """The cells of a block; sets `row` and `network` of its runs."""
    models = {run["model"] for run in runs}
    if table:
        models |= {model for model in table.errors if table.at(model, block.column)}
    rows: dict[str, dict[str, Run]] = {}
    for model in sorted(models, key=lambda model: (_place(NAMES, model), model)):
        own = [run for run in runs if run["model"] == model]
        names = _variants(own)
        for variant in sorted({*names}) or [""]:
            row = f"{NAMES.get(model, model)} {variant}".rstrip()
            cells: dict[str, Run] = {}
            for run, name in zip(own, names, strict=True):
                run["network"] = network_name(run["sampling"], run["longer"])
                if name == variant:
                    run["row"] = row
                    cells[run["network"]] = {"sampling": run["sampling"], "longer": run["longer"]}
            if table and (model not in BASELINES or "CNN" in cells):
                cells.setdefault("CNN", {"sampling": None, "longer": None})
            if table:
                cells.setdefault(network_name(SAMPLING), {"sampling": SAMPLING, "longer": None})
            base = f"{NAMES.get(BASELINES.get(model, ''), '')} {variant}".rstrip()
            against = base if "CNN" not in cells and base in rows else row
            shared = {"block": number, "row": row, "model": model, "variant": variant, "against": against}
            rows[row] = {
                name: shared | {"network": name} | cells[name] for name in sorted(cells, key=network_order)
            }
    return [cell for row in rows.values() for cell in row.values()]


def _variants(runs: Sequence[Run]) -> list[str]:
    """For each run of one model, the settings that set it apart from others: `optimizer.lr=0.1`."""
    settings = [{key: value for key, value in run.items() if key.startswith(CONFIG)} for run in runs]
    known = [each for each in settings if any(value is not None for value in each.values())]
    keys = sorted({key for each in known for key in each})
    different = [key for key in keys if len({repr(each.get(key)) for each in known}) > 1]
    return [
        " ".join(f"{key.removeprefix(CONFIG)}={each.get(key)}" for key in different)
        if each in known or not different
        else "config.yaml=missing"
        for each in settings
    ]


def _one_for_each_seed(runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, list[str]]]:
    """Of several runs of one seed the newest finished one, else the newest; and notes on that for each block."""
    key = [*CELL, "seed"]
    runs = runs.assign(finished=runs["test/error"].notna()).sort_values(["seed", "finished", "started"])
    notes: dict[int, list[str]] = {}
    for (block, row, network, seed), same in runs[runs.duplicated(key, keep=False)].groupby(key, sort=False):
        which = "newest" if same["finished"].nunique() == 1 else "newest finished"
        notes.setdefault(block, []).append(
            f"{row}, {network}, seed {seed}: {len(same)} runs, the {which} one counts, {same.iloc[-1]['folder']}."
        )
    return runs.drop_duplicates(key, keep="last"), notes


def _block_order(block: Block) -> tuple[Any, ...]:
    columns = [column for table in TABLES.values() for column in table.columns]
    parts = [(part is None, part or 0) for part in block[3:]]
    return _place(columns, block.column), block.column, parts, str(block.protocol)


def _place(known: Iterable[Any], value: Any) -> int:
    """Its place among the known ones, or after all of them."""
    known = list(known)
    return known.index(value) if value in known else len(known)
