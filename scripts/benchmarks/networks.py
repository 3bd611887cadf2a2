"""The networks that are measured, the forms they are measured in, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torchvision
from torch import nn

import ccnn
from ccnn.conversion.dry_run import InputSize, gist
from ccnn.measuring.race import Contender, Limits, Timing, race
from ccnn.measuring.workload import Simulated, Task, Workload, prepared, simulate
from ccnn.models import TINY, VGG, DenseNet, checkpoint_stages, resnet
from scripts.benchmarks.baseline_5d import to_5d

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

SMALL: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet(18),
    "resnet50_tiny": lambda: resnet(50, channels=TINY, expansion=2),
    "vgg11_bn": lambda: VGG(11),
    "densenet_bc40": lambda: DenseNet((6, 6, 6), 12),
}
"""The paper's networks for images of 32×32, that train."""

LARGE = ("squeezenet1_1", "resnet50")
"""torchvision's networks for images of 224×224, that infer."""

TABLE3 = ("squeezenet1_1", "resnet152", "densenet169")
"""The networks of the paper's Table 3."""

NAMES = (*SMALL, *dict.fromkeys((*LARGE, *TABLE3)))


@dataclass(frozen=True)
class Options:
    """What is common to all suites.

    Attributes:
        device: cpu or cuda.
        limits: of each race.
        quick: tiny sizes, to try the program out.
        networks: those to measure.
        say: told what is being measured.
    """

    device: str = "cpu"
    limits: Limits = field(default_factory=lambda: Limits(rounds=7, seconds=20.0, patience=300.0))
    quick: bool = False
    networks: Sequence[str] = NAMES
    say: Callable[[str], object] = print

    def synchronize(self) -> None:
        """Waits until the device has done its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def race(self, contenders: Sequence[Contender]) -> dict[str, Timing]:
        """Times them side by side on this device."""
        return race(contenders, self.limits, self.synchronize)


def build(name: str) -> nn.Module:
    """A network, with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SMALL[name]() if name in SMALL else torchvision.models.get_model(name, weights=None)


def _checkpointed(model: nn.Module, size: InputSize) -> nn.Module:
    checkpoint_stages(ccnn.convert(model, size))
    return model


FORMS: dict[str, Callable[[nn.Module, InputSize], nn.Module]] = {
    "plain": lambda model, size: model,
    "naive": lambda model, size: ccnn.convert(model, size, "naive"),
    "lattice": lambda model, size: ccnn.convert(model, size, "lattice"),
    "5-D": lambda model, size: to_5d(model),
    "5-D, literal": lambda model, size: to_5d(model, literal=True),
    "dilated": ccnn.dilate,
    "naive, checkpointed": _checkpointed,
}
"""What a network is turned into."""


class Entry(NamedTuple):
    """One of those that are measured side by side: a network in one form with its task."""

    form: str
    task: Task

    @property
    def settings(self) -> str:
        """In words."""
        return "recommended" if self.task.recommended else "float32"

    def __str__(self) -> str:
        return f"{self.form}, {'training' if self.task.training else 'inference'}, {self.settings}"


@dataclass(frozen=True)
class Measured:
    """What was found of an entry.

    Attributes:
        timing: seconds of a step.
        memory: bytes at the peak of a step: what CUDA's allocator says there, simulated elsewhere.
        multiply_adds: of a step.
    """

    timing: Timing
    memory: int | None = None
    multiply_adds: int | None = None


def measure(network: str, entries: Sequence[Entry], options: Options) -> dict[Entry, Measured]:
    """Measures a network's forms side by side; one that fails is reported so."""
    contenders: list[Contender] = []
    simulated: dict[str, Simulated] = {}
    peaks: dict[str, int] = {}
    problems: dict[str, str] = {}
    for entry in entries:
        options.say(f"{network}: {entry}")
        try:
            model = FORMS[entry.form](build(network), entry.task.input_size)
            simulated[str(entry)] = cost = simulate(model, entry.task)
            peaks[str(entry)] = _cuda_peak(model, entry.task) if options.device == "cuda" else cost.peak_bytes
        except Exception as error:
            problems[str(entry)] = gist(error)
            if str(entry) not in simulated:
                continue
        if str(entry) not in problems:
            contenders.append(_contender(entry, model, simulated[str(entry)], options.device))
    timings = options.race(contenders)
    result = {}
    for entry in entries:
        timing = timings.get(str(entry)) or Timing(problem=problems[str(entry)])
        counted = simulated.get(str(entry))
        result[entry] = Measured(timing, peaks.get(str(entry)), counted.multiply_adds if counted else None)
    return result


def _contender(entry: Entry, model: nn.Module, cost: Simulated, device: str) -> Contender:
    def prepare() -> Callable[[], object]:
        return Workload(prepared(model, entry.task, device), entry.task)

    return Contender(str(entry), prepare, cost.multiply_adds, cost.peak_bytes)


def _cuda_peak(model: nn.Module, task: Task) -> int:
    """Bytes that a second step takes at most on the GPU, with nothing else of this program on it."""
    workload = Workload(prepared(model, task, "cuda"), task)
    workload()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    workload()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
