"""The networks that are measured, the forms they are measured in, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import torch
import torchvision
from torch import nn

import ccnn
from ccnn.benchmark.baseline_5d import to_5d
from ccnn.benchmark.names import NAMES
from ccnn.benchmark.timing import Contender, Limits, Timing, race
from ccnn.benchmark.workload import Simulated, Task, Workload, prepared, simulate
from ccnn.models import TINY, VGG, DenseNet, Toy, checkpoint_stages, resnet
from ccnn.multisampling.conversion.meta import InputSize, gist

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet(18),
    "resnet50_tiny": lambda: resnet(50, channels=TINY, expansion=2),
    "vgg11_bn": lambda: VGG(11),
    "densenet_bc40": lambda: DenseNet((6, 6, 6), 12),
    "toy": lambda: Toy(),
    "resnet18_narrow": lambda: resnet(18, channels=(8, 12, 16, 24), in_channels=1),
}


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
        return _BUILDERS[name]() if name in _BUILDERS else torchvision.models.get_model(name, weights=None)


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

    def __str__(self) -> str:
        return f"{self.form}, {'training' if self.task.training else 'inference'}, {self.task.settings}"


@dataclass(frozen=True)
class Measured:
    """What was found of an entry.

    Attributes:
        timing: seconds of a step.
        memory: bytes at the peak of a step: what CUDA's allocator says there, simulated elsewhere, where what
            compiling changes is not known.
        multiply_adds: of a step.
        compiling: seconds of the first two steps, in which it is compiled.
    """

    timing: Timing
    memory: int | None = None
    multiply_adds: int | None = None
    compiling: float | None = None


def measure(network: str, entries: Sequence[Entry], options: Options) -> dict[Entry, Measured]:
    """Measures a network's forms side by side; one that fails is reported so."""
    contenders: list[Contender] = []
    simulated: dict[str, Simulated] = {}
    peaks: dict[str, int] = {}
    problems: dict[str, str] = {}
    compiling: dict[str, float] = {}
    for entry in entries:
        options.say(f"{network}: {entry}")
        try:
            model = FORMS[entry.form](build(network), entry.task.input_size)
            simulated[str(entry)] = cost = simulate(model, entry.task)
            if options.device == "cuda":
                peaks[str(entry)] = _cuda_peak(model, entry.task)
            elif entry.task.settings != "compiled":
                peaks[str(entry)] = cost.peak_bytes
        except Exception as error:
            problems[str(entry)] = gist(error)
            if str(entry) not in simulated:
                continue
        if str(entry) not in problems:
            contenders.append(_contender(entry, model, simulated[str(entry)], options.device, compiling))
    timings = options.race(contenders)
    result = {}
    for entry in entries:
        timing = timings.get(str(entry)) or Timing(problem=problems[str(entry)])
        counted = simulated.get(str(entry))
        work = counted.multiply_adds if counted else None
        result[entry] = Measured(timing, peaks.get(str(entry)), work, compiling.get(str(entry)))
    return result


def _contender(
    entry: Entry, model: nn.Module, cost: Simulated, device: str, compiling: dict[str, float]
) -> Contender:
    def prepare() -> Callable[[], object]:
        workload = Workload(prepared(model, entry.task, device), entry.task)
        if entry.task.settings == "compiled":
            compiling[str(entry)] = _compile(workload)
        return workload

    return Contender(str(entry), prepare, cost.multiply_adds, cost.peak_bytes)


def _compile(workload: Workload) -> float:
    """Has a network compiled, in its first two steps, and tells their seconds."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # takes seconds to import

    try:
        get_cpp_compiler()
    except Exception as error:
        raise RuntimeError("torch.compile needs a C++ compiler, and finds none here") from error
    torch.compiler.reset()  # or code that networks share would be compiled again, for shapes in general
    begun = perf_counter()
    workload()
    workload()
    return perf_counter() - begun


def _cuda_peak(model: nn.Module, task: Task) -> int:
    """Bytes that a second step takes at most on the GPU, with nothing else of this program on it."""
    workload = Workload(prepared(model, task, "cuda"), task)
    workload()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    workload()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
