"""Suites of networks as data: which networks are measured in which forms, tasks and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ccnn.benchmark.measure import measure
from ccnn.benchmark.timing import Limits
from ccnn.benchmark.workload import Settings, Task
from ccnn.multisampling.conversion.meta import InputSize


@dataclass(frozen=True)
class Suite:
    """Networks that are measured alike.

    Attributes:
        networks: their names.
        forms: by settings; all take turns, and the first of each settings is the reference of its ratios.
        input_size: (C, H, W).
        batch: images per step.
        training: tasks: training steps, inference, or both.
        quick: batch and input size of a trial run.
    """

    networks: tuple[str, ...]
    forms: Mapping[Settings, tuple[str, ...]]
    input_size: InputSize
    batch: int
    training: tuple[bool, ...]
    quick: tuple[int, InputSize]


_OURS = ("plain", "naive", "lattice")
_SPEED: Mapping[Settings, tuple[str, ...]] = {
    "float32": (*_OURS, "5-D", "5-D, literal"),
    "recommended": _OURS,
}
_SPEED_SMALL: Mapping[Settings, tuple[str, ...]] = {
    "float32": (*_SPEED["float32"], "naive, checkpointed"),
    "recommended": _OURS,
    "compiled": ("plain", "naive"),
}
_METHODS = (*_OURS, "lattice skip_first=1", "random", "stochastic", "three_quarters", "complete")
_TABLE3 = ("original", "dilated", "checkered, naive", "checkered, lattice")
_CIFAR, _IMAGENET, _QUICK_IMAGENET = (3, 32, 32), (3, 224, 224), (3, 64, 64)

SMALL = ("resnet18", "resnet50_tiny", "vgg11_bn", "densenet_bc40")
"""The paper's networks for images of 32×32."""

SUITES: dict[str, tuple[Suite, ...]] = {
    "speed": (
        Suite(SMALL, _SPEED_SMALL, _CIFAR, 32, (True, False), (2, _CIFAR)),
        Suite(("squeezenet1_1", "resnet50"), _SPEED, _IMAGENET, 4, (False,), (2, _QUICK_IMAGENET)),
    ),
    "methods": (
        Suite(("toy", "resnet18_narrow"), {"float32": _METHODS}, (1, 28, 28), 32, (True, False), (2, (1, 28, 28))),
    ),
    "table3": (
        Suite(
            ("squeezenet1_1", "resnet152", "densenet169"), {"float32": _TABLE3}, _IMAGENET, 4, (False, True),
            (1, _QUICK_IMAGENET),
        ),
    ),
}  # fmt: skip
"""Speed against the plain CNN and the published scheme; each sampling method; the paper's Table 3."""

QUICK = ("vgg11_bn", "squeezenet1_1", "toy")
"""The networks of a trial run: those that compile and simulate in seconds."""

NETWORKS = tuple(dict.fromkeys(name for suites in SUITES.values() for suite in suites for name in suite.networks))


@dataclass(frozen=True)
class Options:
    """Common to all suites.

    Attributes:
        device: cpu or cuda.
        limits: of time and memory.
        quick: tiny sizes, to try the program out; only VGG's inference is compiled.
        networks: those to measure.
    """

    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    quick: bool = False
    networks: Sequence[str] = NETWORKS


def measure_suite(name: str, options: Options) -> pd.DataFrame:
    """Times, memory and multiply-adds of a suite's networks, one row for each form.

    Columns ending in × are ratios over the reference, the first form of the same network, task and settings; times
    are medians over interleaved rounds. Memory is what CUDA's allocator reports there, simulated on the CPU.
    """
    rows = []
    for suite in SUITES[name]:
        batch, size = suite.quick if options.quick else (suite.batch, suite.input_size)
        for net in suite.networks:
            for training in suite.training if net in options.networks else ():
                compiled = not options.quick or (net, training) == ("vgg11_bn", False)
                entries = [
                    (form, Task(batch, size, training, settings))
                    for settings, forms in suite.forms.items()
                    for form in (forms if settings != "compiled" or compiled else ())
                ]
                rows += measure(net, entries, options.device, options.limits)
    return pd.DataFrame(rows)
