"""Suite `profile`: where the time of a training step goes, by operation."""

import logging
import os
from itertools import product

import pandas as pd
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ccnn.benchmark.networks import network
from ccnn.benchmark.suites import SMALL, Options
from ccnn.benchmark.workload import Task, Workload, prepared

log = logging.getLogger(__name__)

FORMS = ("plain", "naive", "lattice")


def measure_profile(options: Options) -> pd.DataFrame:
    """Calls and time of each operation in a float32 training step on 32×32 images, the mean of several steps.

    The profiler costs time itself: compare the shares. What multisampling adds to a network beyond its arithmetic
    is in `copy_`, `cat`, `constant_pad_nd` and their like.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # The profiler logs to stderr otherwise.
    task = Task(2 if options.quick else 32, (3, 32, 32), training=True)
    frames = []
    for net, form in product(SMALL, FORMS):
        if net in options.networks:
            log.info("%s: %s", net, form)
            model = prepared(network(net, form, task.input_size), task, options.device)
            operations = profile_step(Workload(model, task), steps=2 if options.quick else 5)
            frames.append(operations.assign(network=net, form=form))
    columns = ["network", "form", "operation", "time, s", "share, %", "calls"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def profile_step(workload: Workload, steps: int) -> pd.DataFrame:
    """Operations of a step that take at least 0.5 % of its time, by `torch.profiler`, after a warm-up."""
    cuda = workload.images.device.type == "cuda"
    workload()
    workload()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        for _ in range(steps):
            workload()
    operations = pd.DataFrame(
        {
            "operation": event.key.removeprefix("aten::"),
            "time, s": (event.self_device_time_total if cuda else event.self_cpu_time_total) / steps / 1e6,
            "calls": event.count // steps,
        }
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CPU  # A kernel's time counts for the operation that launched it.
    )
    operations["share, %"] = 100 * operations["time, s"] / operations["time, s"].sum()
    return operations[operations["share, %"] >= 0.5].sort_values("share, %", ascending=False)
