"""Suite `speed`: plain, converted and published form of networks: times, multiply-adds and memory, with bars."""

from itertools import product

from ccnn.conversion.dry_run import gist
from ccnn.measuring.race import Spread, ratio
from ccnn.measuring.workload import Task, simulate
from scripts.benchmarks.networks import (
    CIFAR,
    FORMS,
    IMAGENET,
    LARGE,
    SMALL,
    Entry,
    Measured,
    Options,
    build,
    measure,
)
from scripts.benchmarks.tables import Bar, Cell, Result, Table

COLUMNS = (
    "network", "task", "settings", "form", "batch", "time, ms", "quartile 1", "quartile 3", "rounds",
    "multiply-adds, G", "memory, MB", "note",
)  # fmt: skip

MEMORY_BATCH = 64
"""Images in the paper's batches."""

TEXT = (
    "*Plain* is the CNN, *naive* and *lattice* the CCNN that it is converted to, *5-D* the published scheme: "
    "1×k×k convolutions on tensors with an axis of submaps, four shifts at each stride of which two are thrown "
    "away. There it costs the least it can: its shifts share one padded input, and backward goes through the two "
    "that are kept. *5-D, literal* pads for each shift, stacks all four and takes two by index, as a choice for "
    "each submap needs, and backward goes through all four. What is known of the published code fits both. "
    "*Recommended* settings are channels_last, and bf16 autocast where the device computes in it (GPUs, "
    "AVX512_BF16, AMX; elsewhere bf16 is many times slower). Training is a whole step: "
    "forward, cross-entropy, backward, SGD with momentum. All forms of a network and a task take turns, round by "
    "round, and a ratio is the median of the ratios within the rounds. Memory is that of tensors at the peak of a "
    "step with parameters, gradients and momentum, counted by simulation where there is no GPU, without what "
    "kernels need for themselves; the CUDA estimate rounds each tensor up as CUDA's allocator does."
)


def run(options: Options) -> Result:
    """Measures the networks one after another."""
    rows: list[tuple[Cell, ...]] = []
    bars: list[Bar] = []
    for network in (*SMALL, *LARGE):
        if network not in options.networks:
            continue
        small = network in SMALL
        size = CIFAR if small else (3, 64, 64) if options.quick else IMAGENET
        batch = 2 if options.quick else 32 if small else 4
        for training in (True, False) if small else (False,):
            tasks = [Task(batch, size, training, recommended) for recommended in (False, True)]
            entries = [
                Entry(form, task)
                for task in tasks
                for form in ("plain", "naive", "lattice", *_published(training))
                if not (form.startswith("5-D") and task.recommended)
            ]
            found = measure(network, entries, options)
            rows += [_row(network, entry, measured) for entry, measured in found.items()]
            bars += _time_bars(network, found)
        if small:
            options.say(f"{network}: memory")
            bars += _memory_bars(network, 2 if options.quick else MEMORY_BATCH)
    table = Table("speed", "The measurements.", COLUMNS, rows)
    return Result(
        "speed", "Speed and memory against the multiply-adds and the published scheme", TEXT, [table], bars
    )


def _row(network: str, entry: Entry, measured: Measured) -> tuple[Cell, ...]:
    median, lower, upper = (1e3 * t for t in measured.timing.spread) if measured.timing.spread else (None,) * 3
    return (
        network, _task(entry.task), entry.settings, entry.form, entry.task.batch,
        median, lower, upper, len(measured.timing.seconds),
        measured.multiply_adds / 1e9 if measured.multiply_adds else None,
        measured.memory / 1e6 if measured.memory else None, measured.timing.problem,
    )  # fmt: skip


def _published(training: bool) -> tuple[str, ...]:
    """The forms of the published scheme; in inference both are one."""
    return ("5-D", "5-D, literal") if training else ("5-D",)


def _task(task: Task) -> str:
    return "training" if task.training else "inference"


def _time_bars(network: str, found: dict[Entry, Measured]) -> list[Bar]:
    """Time against multiply-adds, against the published scheme, lattice against naive."""
    by = {(entry.form, entry.task.recommended): measured for entry, measured in found.items()}
    task = next(iter(found)).task
    bars = []
    for recommended in (False, True):
        settings = "recommended" if recommended else "float32"
        case = f"{network}, {_task(task)}, {settings}"
        plain, naive, lattice = (by[form, recommended] for form in ("plain", "naive", "lattice"))
        arithmetic = (naive.multiply_adds or 0) / (plain.multiply_adds or 1)
        bars += [
            _bar(case, "naive : plain, time per multiply-add", naive, plain, 0.9, divide=arithmetic),
            *(
                _bar(
                    case,
                    f"{form} in float32 : naive, time",
                    by[form, False],
                    naive,
                    3 if recommended else 1.5,
                    True,
                )
                for form in _published(task.training)
            ),
            _bar(case, "lattice : naive, time", lattice, naive, 1.05),
        ]
    return bars


def _bar(
    case: str,
    promise: str,
    over: Measured,
    under: Measured,
    limit: float,
    at_least: bool = False,
    divide: float = 1.0,
) -> Bar:
    value = ratio(over.timing, under.timing) if divide else None
    scaled: Spread | None = (value[0] / divide, value[1] / divide, value[2] / divide) if value else None
    return Bar(case, promise, scaled, limit, at_least, over.timing.problem or under.timing.problem)


def _memory_bars(network: str, batch: int) -> list[Bar]:
    """Peak memory of a training step against the published scheme's, with and without gradient checkpointing."""
    task = Task(batch, CIFAR, training=True)
    bars = []
    for where, block in (("", 1), ("CUDA estimate, ", 512)):
        peaks: dict[str, int] = {}
        problems: dict[str, str] = {}
        ours, published = {"naive": 0.75, "naive, checkpointed": 0.5}, _published(training=True)
        for form in (*ours, *published):
            try:
                peaks[form] = simulate(FORMS[form](build(network), CIFAR), task, block).peak_bytes
            except Exception as error:
                problems[form] = gist(error)
        for (form, limit), other in product(ours.items(), published):
            value = peaks[form] / peaks[other] if {form, other} <= peaks.keys() else None
            bars.append(
                Bar(
                    f"{network}, training, {where}batch {batch}",
                    f"{form} : {other}, peak memory",
                    (value, value, value) if value else None,
                    limit,
                    problem=problems.get(form) or problems.get(other, ""),
                )
            )
    return bars
