"""Suite `methods`: what each sampling method costs, beside the plain network, in the networks of our study."""

from collections.abc import Callable
from functools import partial

from torch import nn

import ccnn
from ccnn.benchmark.names import STUDIED
from ccnn.benchmark.networks import Options, build
from ccnn.benchmark.tables import Cell, Result, Table
from ccnn.benchmark.timing import Contender, Timing, ratio
from ccnn.benchmark.workload import Task, Workload, prepared, simulate

SAMPLINGS: dict[str, str | ccnn.Sampling] = {
    "naive": "naive",
    "lattice": "lattice",
    "lattice skip_first=1": ccnn.Sampling("lattice", skip_first=1),
    "random": "random",
    "stochastic": "stochastic",
    "three_quarters": "three_quarters",
    "complete": "complete",
}

SIZE = (1, 28, 28)

ONE_LEVEL = {"toy": ["lattice", "lattice skip_first=1"]}
"""Methods that are another one in networks with one level: there lattice is naive, and without it all is plain."""

COLUMNS = (
    "network", "task", "method", "time, ms", "quartile 1", "quartile 3", "× plain", "multiply-adds, × plain",
    "note",
)  # fmt: skip

TEXT = (
    "Times of a step in float32, of all methods in turns, round by round. The drawn methods, `random` and "
    "`stochastic`, draw in training alone; in inference they are `lattice`. Small networks spend part of a step "
    "in what does not depend on the arithmetic, so a method may cost less than its multiply-adds."
)


def run(options: Options) -> Result:
    """Measures the networks one after another."""
    rows: list[tuple[Cell, ...]] = []
    batch = 2 if options.quick else 32
    for network in STUDIED:
        for training in (True, False) if network in options.networks else ():
            options.say(f"{network}: {'training' if training else 'inference'}")
            rows += _rows(network, Task(batch, SIZE, training), options)
    table = Table("methods", f"Batches of {batch} at {SIZE[1]}×{SIZE[2]}.", COLUMNS, rows)
    return Result("methods", "What each sampling method costs", TEXT, [table], [])


def _rows(network: str, task: Task, options: Options) -> list[tuple[Cell, ...]]:
    drawn = {"random": "naive", "stochastic": "plain"}  # do as much: fake tensors have no numbers to draw from
    same = [*ONE_LEVEL.get(network, ()), *(() if task.training else drawn)]
    methods = ["plain", *(name for name in SAMPLINGS if name not in same)]
    prepare = {name: partial(_workload, network, name, task, options.device) for name in methods}
    found = options.race([Contender(name, prepare[name]) for name in methods])
    costs = {name: simulate(_model(network, name), task).multiply_adds for name in methods if name not in drawn}
    costs |= {name: costs[drawn[name]] for name in methods if name in drawn}
    return [
        _row(network, task, name, found[name], found["plain"], costs[name] / costs["plain"]) for name in methods
    ]


def _row(network: str, task: Task, name: str, timing: Timing, plain: Timing, work: float) -> tuple[Cell, ...]:
    times = [1e3 * seconds for seconds in timing.spread] if timing.spread else [None] * 3
    compared = ratio(timing, plain)
    kind = "training" if task.training else "inference"
    return (network, kind, name, *times, compared[0] if compared else None, work, timing.note)


def _model(network: str, name: str) -> nn.Module:
    model = build(network)
    return model if name == "plain" else ccnn.convert(model, SIZE, SAMPLINGS[name])


def _workload(network: str, name: str, task: Task, device: str) -> Callable[[], None]:
    return Workload(prepared(_model(network, name), task, device), task)
