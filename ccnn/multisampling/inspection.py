"""What a network yields and costs, level by level or layer by layer; nothing is computed, only shapes are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .base import Multisampling
from .conversion.meta import InputSize, checked, gist, outputs, skeleton
from .network_calls import Call, calls_of, plain_calls


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters, shared ones counted once.

    >>> parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def multiply_adds(model: nn.Module, input_size: InputSize) -> int:
    """Multiply-adds of convolutions and linear layers for one image of `input_size` (C, H, W), in evaluation.

    Raises:
        ValueError: for a malformed input size.

    Example:
        >>> multiply_adds(nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 16, 16)) == 3 * 8 * 9 * 8 * 8
        True
    """
    size = checked(input_size)
    with FlopCounterMode(display=False) as counter:
        outputs(skeleton(model).eval(), size, images=1)
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True)
class Row:
    """One level or one call of a layer, for one image in evaluation.

    Attributes:
        name: the layer's, or that of a level's first layer.
        kind: the layer's class; for a level, the classes that compute or change the size of the map.
        size: the output without the batch, (C, H, W) or (features,); for a level, that of its last layer.
        submaps: number of maps of that size that stand for one image.
        parameters: trainable ones, each counted once in the whole network.
        multiply_adds: of convolutions and linear layers.
        plain_multiply_adds: the same in the plain network; None if there is no plain network.
    """

    name: str
    kind: str
    size: tuple[int, ...]
    submaps: int
    parameters: int
    multiply_adds: int
    plain_multiply_adds: int | None

    @property
    def factor(self) -> float | None:
        """Multiply-adds divided by the plain network's; None if that has none."""
        return self.multiply_adds / self.plain_multiply_adds if self.plain_multiply_adds else None


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """The table that `summary` returns; `print` shows it.

    Attributes:
        name: class of the network.
        input_size: (C, H, W).
        by: what a row stands for.
        rows: in the order of the forward pass.
        total: of the whole network.
    """

    name: str
    input_size: InputSize
    by: Literal["level", "layer"]
    rows: tuple[Row, ...]
    total: Row

    def __rich__(self) -> Table:
        """The table."""
        table = Table(title=f"{self.name}, input {_size(self.input_size)}", title_justify="left")
        table.add_column("from" if self.by == "level" else "layer", style="cyan", overflow="fold")
        table.add_column("type", overflow="fold")
        table.add_column("output")
        for number in ("submaps", "parameters", "multiply-adds", "× plain"):
            table.add_column(number, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*_cells(row))
        table.add_section()
        table.add_row(*_cells(self.total), style="bold")
        return table

    def __repr__(self) -> str:
        """The table as text, 110 characters wide."""
        console = Console(width=110, color_system=None, force_terminal=False, force_jupyter=False)
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())


def summary(model: nn.Module, input_size: InputSize, by: Literal["level", "layer"] = "level") -> NetworkSummary:
    """Shapes, submaps, parameters and multiply-adds of a network, plain or converted, without running it.

    A copy that keeps one position of each window is the plain network, to which the cost is compared.

    Args:
        model: any CNN. One that was built from multisampling layers, and merges submaps in its own forward, has no
            plain network and therefore no factors.
        input_size: (C, H, W) of an image.
        by: one row per `level` (all layers that yield equally many submaps of one size) or per `layer`.

    Returns:
        The table: print it, or read the numbers of its rows.

    Raises:
        ValueError: for another `by`, a malformed input size, or a network that does not run on `input_size`.

    Example:
        >>> table = summary(nn.Conv2d(3, 8, 3, stride=2), (3, 17, 17), by="layer")
        >>> [(row.kind, row.size, row.parameters) for row in table.rows]
        [('Conv2d', (8, 8, 8), 224)]
    """
    if by not in ("level", "layer"):
        raise ValueError(f"by: expected 'level' or 'layer', got {by!r}")
    size = checked(input_size)
    try:
        calls = calls_of(skeleton(model), size)
    except Exception as error:
        raise ValueError(f"summary: the network does not run on input_size={size}: {gist(error)}") from error
    plain = plain_calls(model, size, calls)
    lines = [_Line(call, alone) for call, alone in zip(calls, plain, strict=True)]
    rows = [line.row for line in lines if line.shown]
    total = _sum("total", "", calls[-1].shape[1:], 1, rows)
    uncalled = parameters(model) - total.parameters
    total = replace(total, parameters=total.parameters + uncalled)
    shown = _levels([line for line in lines if line.shown]) if by == "level" else rows
    if uncalled:  # auxiliary heads
        shown.append(Row("(not called)", "", (), 0, uncalled, 0, 0))
    return NetworkSummary(type(model).__name__, size, by, tuple(shown), total)


_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_OF_MAPS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Upsample, Multisampling, *_POOLS)
"""Layers whose output is (N, C, H, W); others may return the channels last."""


class _Line:
    """One call of a module, as a row of the table and as a member of a level."""

    def __init__(self, call: Call, plain: Call | None) -> None:
        module, rows = call.module, call.shape[0] if call.shape else 1
        alone = plain.shape[0] if plain is not None and plain.shape else 1
        self.row = Row(
            call.name or "(the model)",
            type(module).__name__,
            call.shape[1:],
            max(1, rows // max(1, alone)),
            call.parameters,
            call.flops // 2,
            None if plain is None else plain.flops // 2,
        )
        reshapes = call.shape != call.received and next(module.children(), None) is None
        self.shown = bool(call.parameters or call.flops) or isinstance(module, Multisampling) or reshapes
        self.computes = bool(call.flops) or isinstance(module, (Multisampling, *_POOLS))
        is_map = isinstance(module, _OF_MAPS) and len(call.shape) == 4
        self.level = (self.row.submaps, *call.shape[2:]) if is_map else None

    @property
    def whole(self) -> bool:
        """Whether the output is one value per channel."""
        return len(self.row.size) == 1 or self.row.size[1:] == (1, 1)


def _levels(lines: list[_Line]) -> list[Row]:
    """One row per level; layers before the first map belong to it, those after the last map are the head."""
    last_map = max((i for i, line in enumerate(lines) if line.level and not line.whole), default=-1)
    levels: dict[tuple[int, ...], list[_Line]] = {}
    level: tuple[int, ...] = next((line.level for line in lines if line.level), ())
    for i, line in enumerate(lines):
        if i > last_map and line.whole:
            level = ()
        elif line.level and not line.whole:
            level = line.level
        levels.setdefault(level, []).append(line)
    return [_level(members) for members in levels.values()]


def _level(members: list[_Line]) -> Row:
    kinds = Counter(line.row.kind for line in members if line.computes)
    kind = ", ".join(name if number == 1 else f"{number}×{name}" for name, number in kinds.items())
    ends = [line.row for line in members if line.level and not line.whole] or [line.row for line in members]
    return _sum(members[0].row.name, kind, ends[-1].size, ends[-1].submaps, [line.row for line in members])


def _sum(name: str, kind: str, size: tuple[int, ...], submaps: int, rows: Sequence[Row]) -> Row:
    plain = [row.plain_multiply_adds for row in rows]
    return Row(
        name,
        kind,
        size,
        submaps,
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
        None if None in plain else sum(count or 0 for count in plain),
    )


def _cells(row: Row) -> tuple[str, ...]:
    factor = "–" if row.factor is None else f"{row.factor:.2f}"
    submaps = str(row.submaps) if row.submaps else ""
    return row.name, row.kind, _size(row.size), submaps, f"{row.parameters:,}", f"{row.multiply_adds:,}", factor


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
