"""Suite `table3`: original, dilated and checkered networks at 224×224, as the paper's Table 3 has them."""

from ccnn.benchmark.names import TABLE3
from ccnn.benchmark.networks import IMAGENET, Entry, Measured, Options, measure
from ccnn.benchmark.tables import Cell, Result, Table
from ccnn.benchmark.timing import ratio
from ccnn.benchmark.workload import Task
from ccnn.report.paper import INFERENCE

FORMS = {"plain": "original", "dilated": "dilated", "naive": "checkered, naive", "lattice": "checkered, lattice"}

PUBLISHED = {"plain": "original", "dilated": "dilated", "naive": "checkered"}
"""What the paper's Table 3 calls these forms."""

COLUMNS = (
    "network", "task", "form", "batch", "time, s", "quartile 1", "quartile 3", "rounds", "× original",
    "multiply-adds, G", "× original ", "memory, MB", "×  original", "paper: s", "paper: GB", "note",
)  # fmt: skip

TEXT = (
    "The paper's Table 3 and the same in training. *Dilated* is `ccnn.dilate`: every stride replaced by dilation "
    "of all that follows, which computes what complete multisampling computes. Memory is that of tensors at the "
    "peak of a step, with the parameters (in training also gradients and the optimizer's momentum), without what "
    "kernels need for themselves. The paper's columns are of a GTX 1080 Ti and count otherwise: compare ratios. "
    "What needs more memory or patience than there is does not run; memory and multiply-adds are known all the "
    "same, by simulation."
)


def run(options: Options) -> Result:
    """Measures the networks one after another."""
    size = (3, 64, 64) if options.quick else IMAGENET
    batch = 1 if options.quick else 4
    rows: list[tuple[Cell, ...]] = []
    for network in TABLE3:
        if network not in options.networks:
            continue
        for training in (False, True):
            task = Task(batch, size, training)
            found = measure(network, [Entry(form, task) for form in FORMS], options)
            original = found[Entry("plain", task)]
            rows += [_row(network, entry, measured, original) for entry, measured in found.items()]
    table = Table("table3", f"Batches of {batch} at {size[1]}×{size[2]}, float32.", COLUMNS, rows)
    return Result("table3", "Table 3: resolution by dilation and by checkered subsampling", TEXT, [table], [])


def _row(network: str, entry: Entry, measured: Measured, original: Measured) -> tuple[Cell, ...]:
    median, lower, upper = measured.timing.spread or (None, None, None)
    published = INFERENCE[network].get(PUBLISHED.get(entry.form, "")) if not entry.task.training else None
    rounds = len(measured.timing.seconds)
    compared = ratio(measured.timing, original.timing)
    return (
        network, "training" if entry.task.training else "inference", FORMS[entry.form], entry.task.batch,
        median, lower, upper, rounds, compared[0] if compared else None,
        measured.multiply_adds / 1e9 if measured.multiply_adds else None,
        _over(measured.multiply_adds, original.multiply_adds),
        measured.memory / 1e6 if measured.memory else None, _over(measured.memory, original.memory),
        published and published.seconds, published and published.gigabytes, measured.timing.note,
    )  # fmt: skip


def _over(value: int | None, base: int | None) -> float | None:
    return value / base if value and base else None
