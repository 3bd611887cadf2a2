"""Suite `profile`: where the time of a training step goes, by kind of operation."""

import os
from collections import Counter

from torch.profiler import ProfilerActivity, profile

from ccnn.measuring.workload import Task, Workload, prepared
from scripts.benchmarks.networks import CIFAR, FORMS, Options, build
from scripts.benchmarks.tables import Cell, Result, Table

NETWORK = "resnet18"
PARTS = {
    "convolution, backward": "convolution_backward",
    "convolution, forward": "convolution",
    "batch norm": "batch_norm",
    "ReLU": ("threshold", "clamp_min", "relu"),
    "optimizer and additions": ("aten::add", "aten::mul"),
    "copies and padding": ("copy_", "fill_", "cat", "constant_pad", "zero_"),
}
"""Kinds of operations by parts of their names; the first that fits counts."""

TEXT = (
    f"One training step of {NETWORK} on 32×32 images in float32, by PyTorch's profiler, which costs some time of "
    "its own: the shares tell, not the sum. What multisampling adds to a network beyond its arithmetic is in "
    "*copies and padding*."
)
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler talks on the error output

COLUMNS = ("form", "part", "time, ms", "share, %", "calls")


def run(options: Options) -> Result:
    """Profiles the plain and the converted network."""
    task = Task(2 if options.quick else 32, CIFAR, training=True)
    rows: list[tuple[Cell, ...]] = []
    for form in ("plain", "naive", "lattice"):
        if NETWORK not in options.networks:
            break
        options.say(f"{NETWORK}: {form}")
        times, calls = _parts(Workload(prepared(FORMS[form](build(NETWORK), CIFAR), task, options.device), task))
        total = sum(times.values())
        rows += [(form, part, times[part] / 1e3, 100 * times[part] / total, calls[part]) for part in times]
    table = Table("profile", f"Batches of {task.batch}.", COLUMNS, rows)
    return Result("profile", f"Where the time goes: training {NETWORK}", TEXT, [table], [])


def _parts(workload: Workload) -> tuple[Counter[str], Counter[str]]:
    """Microseconds and calls of each kind of operation, in a step after a warm-up."""
    device = workload.images.device.type
    workload()
    with profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    ) as found:
        workload()
    times: Counter[str] = Counter(dict.fromkeys([*PARTS, "all else"], 0))
    calls: Counter[str] = Counter()
    for event in found.key_averages():
        part = next((part for part, names in PARTS.items() if _is(event.key, names)), "all else")
        times[part] += event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        calls[part] += event.count
    return times, calls


def _is(operation: str, names: str | tuple[str, ...]) -> bool:
    return any(name in operation for name in ((names,) if isinstance(names, str) else names))
