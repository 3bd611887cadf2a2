"""Sorts runs into blocks, rows and cells, so that no cell holds runs that cannot be compared."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ccnn.errors import UserError
from ccnn.report.compute import set_beside
from ccnn.report.paper import BASELINES, NAMES, SAMPLING, TABLES, Column, PaperTable
from ccnn.report.runs import Condition, Network, Run

Variant = tuple[tuple[str, Any], ...]
"""Settings that tell apart rows of the same model: dotted keys of the config and their values."""


@dataclass(frozen=True)
class Row:
    """One model, trained in one way: for each network its runs, one for each seed; none if it is missing."""

    model: str
    variant: Variant
    cells: dict[Network, tuple[Run, ...]]


@dataclass(frozen=True)
class Block:
    """What stands in one table: one data set, augmented and trained on in one way.

    Args:
        column: the data.
        condition: None if there is no run of this column.
        rows: the models.
        notes: what a reader must know about single runs.
    """

    column: Column
    condition: Condition | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def arrange(runs: Sequence[Run], table: PaperTable | None = None) -> tuple[list[Block], list[str]]:
    """Arranges runs as the grid of what was found, or as a table of the paper.

    Args:
        runs: in any order.
        table: gives blocks and rows, so that what is missing shows; runs that are not of it are left out.

    Returns:
        The blocks, and notes on the whole.

    Raises:
        UserError: no run is of the table.
    """
    notes = []
    if table:
        mine = [run for run in runs if run.column in table.columns and run.model in table.errors]
        if runs and not mine:
            there = ", ".join(dict.fromkeys(f"{run.model} on {run.column.data}" for run in runs))
            raise UserError(
                f"--table: none of the {len(runs)} runs has a model and a data set of this table; there are "
                f"{there}. Leave --table out to see them."
            )
        if others := len(runs) - len(mine):
            notes.append(f"{others} of {len(runs)} runs are of no model and data set of this table; left out.")
        runs = mine
    commits = Counter(str(run.commit or "unknown")[:12] for run in runs)
    if len(commits) > 1:
        each = ", ".join(f"{commit} ({count})" for commit, count in commits.most_common())
        notes.append(f"The runs are of different versions of the program: {each}.")
    blocks = []
    runs = sorted(set_beside(_adopt(runs)), key=_block_order)
    for (column, condition), members in groupby(runs, key=lambda run: (run.column, run.condition)):
        blocks.append(_block(column, condition, list(members), table))
    for column in table.columns if table else ():
        if not any(block.column == column for block in blocks):
            blocks.append(_block(column, None, [], table))
    return sorted(blocks, key=lambda block: _column_order(block.column)), notes


def _adopt(runs: Iterable[Run]) -> list[Run]:
    """Puts runs that did not finish, and so do not say how many images they train on, with those like them."""
    runs = list(runs)
    known: dict[tuple, set[Condition]] = {}
    for run in runs:
        if run.condition.train_images is not None:
            key = (run.column, run.condition._replace(train_images=None))
            known.setdefault(key, set()).add(run.condition)
    adopted = []
    for run in runs:
        alike = known.get((run.column, run.condition), set())
        if not run.finished and len(alike) == 1:
            run = replace(run, condition=next(iter(alike)))
        adopted.append(run)
    return adopted


def _block(column: Column, condition: Condition | None, runs: list[Run], table: PaperTable | None) -> Block:
    notes: list[str] = []
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.model, []).append(run)
    models = (
        [model for model in table.errors if table.at(model, column) or model in found] if table else list(found)
    )
    rows = []
    for model in sorted(models, key=_model_order):
        mine = found.get(model, [])
        networks = {run.network for run in mine} | ({None, SAMPLING} if table else set())
        if model in BASELINES and all(run.sampling for run in mine):
            networks = networks - {None}
        for variant, members in _variants(mine):
            cells = {
                network: _one_for_each_seed([run for run in members if run.network == network], notes)
                for network in sorted(networks, key=network_order)
            }
            rows.append(Row(model, variant, cells))
    return Block(column, condition, tuple(rows), tuple(notes))


def _variants(runs: list[Run]) -> list[tuple[Variant, list[Run]]]:
    """Parts one model's runs by whatever else in their configs may change the result."""
    known = [run.settings for run in runs if run.settings is not None]
    keys = sorted({key for settings in known for key in settings})
    different = [key for key in keys if len({repr(settings.get(key)) for settings in known}) > 1]
    parts: dict[str, tuple[Variant, list[Run]]] = {}
    for run in runs:
        variant: Variant = tuple((key, (run.settings or {}).get(key)) for key in different)
        if different and run.settings is None:
            variant = (("config.yaml", "missing"),)
        parts.setdefault(repr(variant), (variant, []))[1].append(run)
    return [parts[key] for key in sorted(parts)] or [((), [])]


def _one_for_each_seed(runs: list[Run], notes: list[str]) -> tuple[Run, ...]:
    """Of several runs of one seed the newest, one that finished before any that did not."""
    chosen = []
    for seed in sorted({run.seed for run in runs}):
        same = sorted((run for run in runs if run.seed == seed), key=lambda run: (run.finished, run.started))
        chosen.append(same[-1])
        if len(same) > 1:
            which = "newest" if all(run.finished == same[0].finished for run in same) else "newest finished"
            name = NAMES.get(same[0].model, same[0].model)
            notes.append(
                f"{name}, {network_name(same[0].network)}, seed {seed}: {len(same)} runs, "
                f"the {which} one counts, {same[-1].folder}."
            )
    return tuple(chosen)


def network_name(network: Network) -> str:
    """What tables call a network.

    >>> network_name(None), network_name(480), network_name("lattice skip_first=1")
    ('CNN', 'CNN, 480 epochs', 'CCNN lattice skip_first=1')
    """
    if isinstance(network, int):
        return f"CNN, {network} epochs"
    return "CNN" if network is None else f"CCNN {network}"


_MODELS, _COLUMNS = list(NAMES), [column for table in TABLES.values() for column in table.columns]


def _model_order(model: str) -> tuple[int, str]:
    return (_MODELS.index(model) if model in _MODELS else len(_MODELS), model)


def network_order(network: Network) -> tuple[int, int, str]:
    """Sorts networks: the CNN, CNNs by their epochs, the paper's CCNN, others."""
    if network is None or isinstance(network, int):
        return (0, network or 0, "")
    return (1 if network == SAMPLING else 2, 0, network)


def _column_order(column: Column) -> tuple[int, Column]:
    return (_COLUMNS.index(column) if column in _COLUMNS else len(_COLUMNS), column)


def _block_order(run: Run) -> tuple:
    """Sorts by column, then by condition, whose parts may be missing."""
    return (
        _column_order(run.column),
        [(part is None, part or 0) for part in run.condition[1:]],
        str(run.condition[0]),
    )
