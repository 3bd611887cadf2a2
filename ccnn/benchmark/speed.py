"""Suite `speed`: plain, converted and published form of networks: times, multiply-adds and memory, with bars."""

from collections.abc import Mapping
from itertools import product
from math import inf

from ccnn.benchmark.names import LARGE, SMALL
from ccnn.benchmark.networks import CIFAR, FORMS, IMAGENET, Entry, Measured, Options, build, measure
from ccnn.benchmark.roofline import peaks
from ccnn.benchmark.tables import Bar, Cell, Result, Table
from ccnn.benchmark.timing import Spread, ratio
from ccnn.benchmark.workload import Settings, Task, simulate
from ccnn.multisampling.conversion.meta import gist

COLUMNS = (
    "network", "task", "settings", "form", "batch", "time, ms", "quartile 1", "quartile 3", "rounds",
    "multiply-adds, G", "share of the peak, %", "memory, MB", "note",
)  # fmt: skip

COMPILE_COLUMNS = (
    "network", "task", "recommended, ms", "compiled, ms", "recommended : compiled", "quartile 1", "quartile 3",
    "first two steps, s", "pays after, steps", "note",
)  # fmt: skip

MEMORY_BATCH = 64
"""Images in the paper's batches."""

PUBLISHED = ("5-D", "5-D, literal")

PAYS = 1.02
"""How many times as fast a compiled network must be, for that to be more than noise."""

SAME_WORK = "the same multiply-adds in both forms"

TEXT = (
    "*Plain* is the CNN, *naive* and *lattice* the CCNN that it is converted to, *5-D* the published scheme: "
    "1×k×k convolutions on tensors with an axis of submaps, four shifts at each stride of which two are thrown "
    "away. There it costs the least it can: its shifts share one padded input, and backward goes through the two "
    "that are kept. *5-D, literal* pads for each shift, stacks all four and takes two by index, as a choice for "
    "each submap needs, and backward goes through all four. What is known of the published code fits both. "
    "*Recommended* settings are channels_last, and bf16 autocast where the device computes in it (GPUs, "
    "AVX512_BF16, AMX; elsewhere bf16 is many times slower). *Compiled* is that with `torch.compile`, and what "
    "the bars against 5-D take where it pays; their note says so. Training is a whole step: forward, "
    "cross-entropy, backward, SGD with momentum. All forms of a network and a task take turns, round by round, "
    "and a ratio is the median of the ratios within the rounds. Memory is that of tensors at the peak of a "
    "step with parameters, gradients and momentum, counted by simulation where there is no GPU, without what "
    "kernels need for themselves; the CUDA estimate rounds each tensor up as CUDA's allocator does, and has "
    "CUDA's optimizer.\n\n"
    "What the machine allows: the *peak* is the most multiply-adds a second that were seen in the precision of "
    "the settings, of convolutions that suit the machine or of a network, and the *share of the peak* a network's "
    "multiply-adds by its time and that peak. "
    "*At most* is what a ratio against 5-D would be if each of naive's multiply-adds ran at the peak and all else "
    "cost nothing: the time of 5-D by that least time of naive. Where that is below the bar, no program for these "
    "multiply-adds can meet it here, and a bar that is missed is *beyond the machine*. DenseNet and VGG stride in "
    "poolings alone, which have no multiply-adds: there 5-D does the same multiply-adds as naive, its "
    "convolutions keep the same maps for backward, and no arithmetic is there to save; the bars say so."
)


def run(options: Options) -> Result:
    """Measures the peak, then the networks one after another."""
    peak, peak_table = peaks(options)
    races: dict[str, list[dict[Entry, Measured]]] = {}
    memory: dict[str, list[Bar]] = {}
    for network in (*SMALL, *LARGE):
        if network not in options.networks:
            continue
        small = network in SMALL
        size = CIFAR if small else (3, 64, 64) if options.quick else IMAGENET
        batch = 2 if options.quick else 32 if small else 4
        for training in (True, False) if small else (False,):
            quickest = network == "vgg11_bn" and not training  # to compile
            entries = [
                Entry(form, Task(batch, size, training, settings))
                for settings, forms in _forms(small and (not options.quick or quickest)).items()
                for form in forms
            ]
            races.setdefault(network, []).append(measure(network, entries, options))
        if small:
            options.say(f"{network}: memory")
            memory[network] = _memory_bars(network, 2 if options.quick else MEMORY_BATCH)
    measurements = [
        (network, entry, measured)
        for network, tasks in races.items()
        for found in tasks
        for entry, measured in found.items()
    ]
    for _, entry, measured in measurements:
        precision: Settings = "float32" if entry.task.settings == "float32" else "recommended"
        peak[precision] = max(peak[precision], _fastest(measured))
    peak["compiled"] = peak["recommended"]
    rows = [_row(network, entry, measured, peak) for network, entry, measured in measurements]
    compiled: list[tuple[Cell, ...]] = []
    bars: list[Bar] = []
    for network, tasks in races.items():
        for found in tasks:
            compiled += _compiled(network, found)
            bars += _time_bars(network, found, peak)
        bars += memory.get(network, [])
    tables = [peak_table, Table("speed", "The measurements.", COLUMNS, rows)]
    if compiled:
        tables.append(Table("speed_compile", _pays(compiled), COMPILE_COLUMNS, compiled))
    return Result(
        "speed", "Speed and memory against the multiply-adds and the published scheme", TEXT, tables, bars
    )


def _fastest(measured: Measured) -> float:
    """Multiply-adds a second in the fastest round; 0 if none was measured."""
    return (measured.multiply_adds or 0) / min(measured.timing.seconds, default=inf)


def _forms(compiled: bool) -> dict[Settings, tuple[str, ...]]:
    """What is measured, by settings."""
    ours = ("plain", "naive", "lattice")
    forms: dict[Settings, tuple[str, ...]] = {"float32": (*ours, *PUBLISHED), "recommended": ours}
    return {**forms, "compiled": ("naive",)} if compiled else forms


def _row(network: str, entry: Entry, measured: Measured, peak: Mapping[Settings, float]) -> tuple[Cell, ...]:
    task, timing = entry.task, measured.timing
    median, lower, upper = (1e3 * t for t in timing.spread) if timing.spread else (None,) * 3
    least = measured.multiply_adds / peak[task.settings] if measured.multiply_adds else None
    note = timing.note or (f"compiled in {measured.compiling:.0f} s" if measured.compiling else "")
    return (
        network, _task(task), task.settings, entry.form, task.batch,
        median, lower, upper, len(timing.seconds),
        measured.multiply_adds / 1e9 if measured.multiply_adds else None,
        100 * least / timing.spread[0] if timing.spread and least else None,
        measured.memory / 1e6 if measured.memory else None, note,
    )  # fmt: skip


def _task(task: Task) -> str:
    return "training" if task.training else "inference"


def _compiled(network: str, found: dict[Entry, Measured]) -> list[tuple[Cell, ...]]:
    """The row of a network that was compiled, beside the same uncompiled."""
    by = {(entry.form, entry.task.settings): measured for entry, measured in found.items()}
    compiled, eager = by.get(("naive", "compiled")), by["naive", "recommended"]
    if compiled is None:
        return []
    value = ratio(eager.timing, compiled.timing)
    after, note = None, compiled.timing.note or eager.timing.note
    times = [1e3 * timing.spread[0] if timing.spread else None for timing in (eager.timing, compiled.timing)]
    if value and eager.timing.spread and compiled.compiling:
        saved = eager.timing.spread[0] * (1 - 1 / value[0])
        after, note = (round(compiled.compiling / saved), note) if saved > 0 else (None, "does not pay")
    task = next(iter(found)).task
    return [(network, _task(task), *times, *(value or (None,) * 3), compiled.compiling, after, note)]


def _pays(rows: list[tuple[Cell, ...]]) -> str:
    """Says whether torch.compile pays."""
    ratios = [row[4] for row in rows if isinstance(row[4], float)]
    if not ratios:
        return "Does compiling pay? It was not measured: see the notes."
    return (
        f"Does compiling pay? {sum(value > PAYS for value in ratios)} of {len(ratios)} naive CCNNs are faster by "
        f"more than {100 * (PAYS - 1):.0f} % when compiled. It pays where a run has more steps than make up for "
        "the first two, in which the network is compiled."
    )


def _time_bars(network: str, found: dict[Entry, Measured], peak: Mapping[Settings, float]) -> list[Bar]:
    """Time against multiply-adds, against the published scheme, lattice against naive."""
    by = {(entry.form, entry.task.settings): measured for entry, measured in found.items()}
    task = next(iter(found)).task
    bars = []
    limits: dict[Settings, float] = {"float32": 1.5, "recommended": 3}
    for settings, limit in limits.items():
        case = f"{network}, {_task(task)}, {settings}"
        plain, naive, lattice = (by[form, settings] for form in ("plain", "naive", "lattice"))
        arithmetic = (naive.multiply_adds or 0) / (plain.multiply_adds or 1)
        bars.append(_bar(case, "naive : plain, time per multiply-add", naive, plain, 0.9, divide=arithmetic))
        compiled = by.get(("naive", "compiled")) if settings == "recommended" else None
        best = compiled if compiled and _gain(naive, compiled) > PAYS else naive
        for form in PUBLISHED:
            published = by[form, "float32"]
            at_most = None
            if published.timing.spread and naive.multiply_adds:
                at_most = published.timing.spread[0] * peak[settings] / naive.multiply_adds
            same = SAME_WORK if _same(published.multiply_adds, naive.multiply_adds) else ""
            note = ", ".join(filter(None, ["compiled" if best is compiled else "", same]))
            promise = f"{form} in float32 : naive, time"
            bars.append(_bar(case, promise, published, best, limit, True, at_most=at_most, note=note))
        bars.append(_bar(case, "lattice : naive, time", lattice, naive, 1.05))
    return bars


def _gain(eager: Measured, compiled: Measured) -> float:
    """How many times as fast compiling makes a network; 0 if that is not known."""
    value = ratio(eager.timing, compiled.timing)
    return value[0] if value else 0.0


def _same(one: int | None, other: int | None) -> bool:
    """Whether two forms do the same arithmetic, but for where they merge their submaps: next to nothing."""
    return bool(one and other) and abs(one / other - 1) < 0.005  # type: ignore[operator]


def _bar(
    case: str,
    promise: str,
    over: Measured,
    under: Measured,
    limit: float,
    at_least: bool = False,
    divide: float = 1.0,
    at_most: float | None = None,
    note: str = "",
) -> Bar:
    value = ratio(over.timing, under.timing) if divide else None
    scaled: Spread | None = (value[0] / divide, value[1] / divide, value[2] / divide) if value else None
    return Bar(case, promise, scaled, limit, at_least, over.timing.note or under.timing.note or note, at_most)


def _memory_bars(network: str, batch: int) -> list[Bar]:
    """Peak memory of a training step against the published scheme's, with and without gradient checkpointing."""
    task = Task(batch, CIFAR, training=True)
    bars = []
    for where, cuda in (("", False), ("CUDA estimate, ", True)):
        peaks: dict[str, int] = {}
        arithmetic: dict[str, int] = {}
        problems: dict[str, str] = {}
        ours = {"naive": 0.75, "naive, checkpointed": 0.5}
        for form in (*ours, *PUBLISHED):
            try:
                found = simulate(FORMS[form](build(network), CIFAR), task, cuda)
                peaks[form], arithmetic[form] = found.peak_bytes, found.multiply_adds
            except Exception as error:
                problems[form] = gist(error)
        for (form, limit), other in product(ours.items(), PUBLISHED):
            value = peaks[form] / peaks[other] if {form, other} <= peaks.keys() else None
            same = SAME_WORK if _same(arithmetic.get(other), arithmetic.get("naive")) else ""
            bars.append(
                Bar(
                    f"{network}, training, {where}batch {batch}",
                    f"{form} : {other}, peak memory",
                    (value, value, value) if value else None,
                    limit,
                    note=problems.get(form) or problems.get(other, same),
                )
            )
    return bars
