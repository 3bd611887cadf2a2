"""Suite `profile`: where the time of a training step goes, by kind of operation."""

import os
from collections import Counter
from itertools import product
from typing import NamedTuple

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ccnn.benchmark.names import PROFILED
from ccnn.benchmark.networks import CIFAR, FORMS, Options, build
from ccnn.benchmark.tables import Cell, Result, Table
from ccnn.benchmark.workload import Task, Workload, prepared


class _Part(NamedTuple):
    """Operations of one kind: those whose calls count, and those around and below them, whose time counts too."""

    called: set[str]
    others: set[str]


_PARTS = {
    "convolution, backward": _Part(
        {"convolution_backward"}, {"_slow_conv2d_backward", "mkldnn_convolution_backward"}
    ),
    "convolution, forward": _Part(
        {"convolution"},
        {
            "conv2d",
            "_convolution",
            "mkldnn_convolution",
            "cudnn_convolution",
            "thnn_conv2d",
            "_slow_conv2d_forward",
        },
    ),
    "batch norm": _Part(
        {"batch_norm", "native_batch_norm_backward", "cudnn_batch_norm_backward"},
        {"_batch_norm_impl_index", "native_batch_norm", "cudnn_batch_norm"},
    ),
    "ReLU": _Part({"relu", "relu_", "threshold_backward"}, {"clamp_min", "clamp_min_"}),
    "optimizer and additions": _Part(
        {"add", "add_", "mul", "mul_", "_foreach_add", "_foreach_add_", "_foreach_mul_"}, set()
    ),
    "copies and padding": _Part(
        {"copy_", "fill_", "cat"}, {"zero_", "constant_pad_nd", "pad", "clone", "contiguous", "slice_backward"}
    ),
}
"""PyTorch's names of the operations, each after `aten::`."""

TEXT = (
    "Training steps on 32×32 images in float32, by PyTorch's profiler, which costs some time of "
    "its own: the shares tell, not the sum. Times and calls are those of one step, the mean of several. What "
    "multisampling adds to a network beyond its arithmetic is in *copies and padding*."
)

COLUMNS = ("network", "form", "part", "time, ms", "share, %", "calls")


def run(options: Options) -> Result:
    """Profiles plain and converted networks."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler talks on the error output
    task = Task(2 if options.quick else 32, CIFAR, training=True)
    steps = 2 if options.quick else 5
    rows: list[tuple[Cell, ...]] = []
    for network, form in product(PROFILED, ("plain", "naive", "lattice")):
        if network not in options.networks:
            continue
        options.say(f"{network}: {form}")
        workload = Workload(prepared(FORMS[form](build(network), CIFAR), task, options.device), task)
        times, calls = _parts(workload, steps)
        total = sum(times.values())
        rows += [
            (network, form, part, times[part] / steps / 1e3, 100 * times[part] / total, calls[part] // steps)
            for part in times
        ]
    table = Table("profile", f"Batches of {task.batch}, {steps} steps.", COLUMNS, rows)
    return Result("profile", "Where the time goes in training", TEXT, [table], [])


def _parts(workload: Workload, steps: int) -> tuple[Counter[str], Counter[str]]:
    """Microseconds and calls of each kind of operation, after a warm-up of two steps."""
    cuda = workload.images.device.type == "cuda"
    for _ in range(2):
        workload()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as found:
        for _ in range(steps):
            workload()
    times: Counter[str] = Counter(dict.fromkeys([*_PARTS, "all else"], 0))
    calls: Counter[str] = Counter()
    for event in found.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # a kernel, whose time is that of the operation which launched it
        operation = event.key.removeprefix("aten::")
        part = next(
            (part for part, (called, others) in _PARTS.items() if operation in called | others), "all else"
        )
        times[part] += event.self_device_time_total if cuda else event.self_cpu_time_total
        if part == "all else" or operation in _PARTS[part].called:
            calls[part] += event.count
    return times, calls
