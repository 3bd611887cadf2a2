"""Measures forms of one network side by side: time, peak memory and multiply-adds."""

import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import nn

from ccnn.benchmark.networks import SAME_COST_IN_TRAINING, network
from ccnn.benchmark.timing import Candidate, Limits, Timing, interleave, reason
from ccnn.benchmark.workload import Settings, Simulated, Task, Workload, prepared, simulate

log = logging.getLogger(__name__)


def measure(
    net: str, entries: Sequence[tuple[str, Task]], device: str = "cpu", limits: Limits | None = None
) -> list[dict[str, Any]]:
    """Measures forms of a network side by side, one row for each.

    The first form of each of the settings is the reference of their ratios. A form that fails has its error in the
    column `note`.

    Args:
        net: name of the network.
        entries: form and task of each row.
        device: cpu or cuda.
        limits: of time and memory.

    Example:
        >>> [row] = measure("toy", [("naive", Task(2, (1, 28, 28)))], limits=Limits(rounds=1))
        >>> row["form"], row["rounds"], round(row["multiply-adds, G"], 3)
        ('naive', 1, 0.06)
    """
    measured = [_Measured(net, form, task, device) for form, task in entries]
    candidates = [
        Candidate(entry.name, entry.prepare, entry.cost.multiply_adds, entry.cost.peak_bytes) for entry in measured
    ]
    timings = interleave(candidates, limits or Limits())
    references: dict[Settings, dict[str, Any]] = {}
    rows = []
    for entry in measured:
        row = entry.row(timings[entry.name])
        reference = references.setdefault(entry.task.settings, row)
        for column in ("time, s", "multiply-adds, G", "memory, MB"):
            value, base = row[column], reference[column]
            row[f"{column.partition(',')[0]}, ×"] = value / base if value and base else None
        rows.append(row)
    return rows


class _Measured:
    """One form of a network, simulated at once and timed later."""

    def __init__(self, net: str, form: str, task: Task, device: str) -> None:
        self.net, self.form, self.task, self.device = net, form, task, device
        self.name = f"{form}, {task.settings}"
        self.note = ""
        self.cost = Simulated(0, 0)
        self.memory: int | None = None
        log.info("%s, %s: %s", net, task.name, self.name)
        try:
            counted = SAME_COST_IN_TRAINING.get(form, form) if task.training else form
            self.cost = simulate(network(net, counted, task.input_size), task)
            if device == "cuda":
                self.memory = _cuda_peak(network(net, form, task.input_size), task)
            elif task.settings != "compiled":
                self.memory = self.cost.peak_bytes
        except Exception as error:
            self.note = reason(error)

    def prepare(self) -> Callable[[], object]:
        if self.note:
            raise RuntimeError(self.note)
        model = network(self.net, self.form, self.task.input_size)
        workload = Workload(prepared(model, self.task, self.device), self.task)
        if self.task.settings == "compiled":
            # Without a reset, code that networks share would be recompiled for dynamic shapes.
            torch.compiler.reset()
            begin = perf_counter()
            workload()
            self.note = f"compiled in {perf_counter() - begin:.0f} s"
        return workload

    def row(self, timing: Timing) -> dict[str, Any]:
        lower, median, upper = timing.quartiles
        return {
            "network": self.net, "task": self.task.name, "settings": self.task.settings, "form": self.form,
            "batch": self.task.batch, "time, s": median, "quartile 1": lower, "quartile 3": upper,
            "rounds": len(timing.seconds),
            "multiply-adds, G": self.cost.multiply_adds / 1e9 or None,
            "memory, MB": self.memory and self.memory / 1e6,
            "note": self.note or timing.note,
        }  # fmt: skip


def _cuda_peak(model: nn.Module, task: Task) -> int:
    """Bytes that a second step takes at most on the GPU."""
    workload = Workload(prepared(model, task, "cuda"), task)
    workload()
    torch.cuda.reset_peak_memory_stats()
    workload()
    return torch.cuda.max_memory_allocated()
