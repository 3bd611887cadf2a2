"""Measures the cost of CCNNs: against CNNs, dilation and the published scheme, layer by layer, and the input.

Every suite's results go to the terminal, to CSV files and into a section of performance.md.
"""

import os
import platform
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date
from importlib import import_module
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.benchmark.names import NAMES, SUITES, TABLE3
from ccnn.cli.arguments import Parser, choice
from ccnn.errors import UserError, choices

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from ccnn.benchmark.tables import Result

PAGE = """# Performance

Written by `python scripts/benchmark.py --output docs` (`make bench`); do not edit. The numbers in full are in
`performance/*.csv`. A CCNN does more arithmetic than its CNN: these tables tell whether it costs more than that.

How the layers are arranged, and what was tried instead:

- A convolution's first position pads by itself and reads its input as it is; the others pad, crop and shift in
  one copy. All shifts as views of one padded input took three copies; the shifts moved by PyTorch's own padding,
  with a row and a column of outputs dropped, cost no copy but more arithmetic: 1.3 times that of an 8×8 map.
- A convolution is called once per position, on all submaps that are evaluated there, copied together. With one
  call per run of neighbouring submaps, the lattice and drawn samplers split it into small calls: ResNet-50's last
  3×3 layer (16 submaps of 4 images, channels_last, bf16) took 2.0 times naive's time in inference and 1.5 times in
  training, and now takes 1.07 and 1.08 times.
- Poolings and 1×1 convolutions have one call per run: copying together made average pooling 1.5 times slower.
- A pooling does move its windows by padding: there the copy was dearer than the windows dropped.
- A 1×1 convolution takes the kept samples by slices and then runs once. One strided call per position was a fifth
  slower, and `diagonal` over 2×2 blocks twice as slow with channels_last.
- Runs of submaps come from one split of the batch, and outputs are cut by padding with negative numbers:
  slicing's backward fills a map of zeros per slice, and forgets channels_last, which made poolings two to three
  times as slow.
- Tried without gain: depthwise convolutions whose windows are moved by padding instead of a copy (forward takes
  1.3 to 1.4 times equal work in float32 and 2.0 in bf16, either way); cutting by slices where nothing needs
  gradients; compiling with `freezing` gains in inference (ResNet-18 1.14 times as fast as uncompiled,
  DenseNet-BC-40 1.39, where plain compiling gains 1.10 and 1.05), but its weights are constants then, so nothing
  here uses it.

The numbers in this list were tried by hand, on this machine, in November 2026, and are not part of the suites.

What is missed, and why; what is *beyond the machine* is marked as that in the first table.

- Time against 5-D: both spend most of it in the same convolutions. Naive saves those whose results 5-D throws
  away, and copies. In inference they are an eighth of the multiply-adds in ResNet-18, a sixth in ResNet-50, 1 %
  in SqueezeNet, none in DenseNet and VGG; in training, where 5-D at its leanest has no backward for them, a
  twentieth in both ResNets. Bf16 computes convolutions twice as fast as float32 here, and moves half the bytes:
  3 times needs half as much again from the rest.
- Time per multiply-add against the CNN: a CCNN calls each layer on more images, which helps where the CNN's
  calls are too small to be efficient. DenseNet's are inefficient because its layers are narrow, 12 and 48
  channels, on any number of images. What multisampling itself adds is *copies and padding* in the profile.
- Memory against 5-D: between strided layers both keep the same maps for backward. 5-D at its leanest keeps
  hardly more at the strided ones, 5-D as literally described does, and DenseNet strides in average poolings,
  which keep nothing. `checkpointing=true` meets its bar on every network.
- Layers by themselves: 1×1 convolutions in training with bf16, whose slices have a backward that fills maps with
  zeros; depthwise convolutions, which do few multiply-adds for each number that the shifted copy moves;
  poolings, which spend as much on allocating and joining their outputs as on computing them; 3×3 convolutions of
  a lattice, which copy the submaps of a position together, and, by a hair, the first one of naive in float32.
  They hardly matter to a network: lattice costs what naive does, and copies and padding are 1 to 3 % of a
  training step (the profile below). Networks of depthwise convolutions are the exception.
"""


def main() -> None:
    """Reads the command line, measures, writes."""
    parser = _argument_parser()
    arguments = parser.parse_args()

    # After the command line is known to be right: these take seconds.
    import torch
    from rich.console import Console

    from ccnn.benchmark.networks import Options
    from ccnn.benchmark.tables import on_terminal, write_csv
    from ccnn.benchmark.timing import Limits

    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: torch finds no GPU here; use --device cpu")
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--output: {error}")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 200)
    usual = (2, 2.0, 20.0) if arguments.quick else (7, 20.0, 300.0)
    chosen = (arguments.repeats, arguments.seconds, arguments.patience)
    rounds, seconds, patience = (own if given is None else given for own, given in zip(usual, chosen, strict=True))
    options = Options(
        arguments.device,
        Limits(int(rounds), seconds, patience, _free_memory(arguments.device)),
        arguments.quick,
        arguments.networks,
        lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    where = machine(arguments.device)
    console.print(where)
    for name in arguments.only:
        print(f"{name}:", file=sys.stderr, flush=True)
        result: Result = import_module(f"scripts.benchmarks.{SUITES[name]}").run(options)
        for table in result.all_tables():
            console.print(on_terminal(table))
            write_csv(table, arguments.output / "performance")
        note = f"{where}{' Tiny sizes, to try the program out.' if arguments.quick else ''}"
        page = arguments.output / "performance.md"
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        page.write_text(with_section(text, result, note), encoding="utf-8")
        console.print(f"{name}: written to {page} and {arguments.output / 'performance'}")


def measure_job(config: "DictConfig", folder: Path) -> None:
    """A job of `train.py` with `task=benchmark`: one network of Table 3, into the run's folder.

    Args:
        config: `model.name` is the network; `trainer.accelerator` says where.
        folder: of the run.

    Raises:
        UserError: for a network that Table 3 does not have.
    """
    name = str(config.model.name)
    if name not in TABLE3:
        raise UserError(f"task=benchmark: model.name is {name!r}; {choices(name, TABLE3)}")

    import torch
    from rich.console import Console

    from ccnn.benchmark import table3
    from ccnn.benchmark.networks import Options
    from ccnn.benchmark.tables import on_terminal, write_csv
    from ccnn.benchmark.timing import Limits

    gpu = config.trainer.accelerator in ("gpu", "cuda") or (
        config.trainer.accelerator == "auto" and torch.cuda.is_available()
    )
    device = "cuda" if gpu else "cpu"
    limits = Limits(7, 20.0, 300.0, _free_memory(device))
    result = table3.run(Options(device, limits, quick=config.task == "benchmark_quick", networks=[name]))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(machine(device))
    for table in result.all_tables():
        console.print(on_terminal(table))
        write_csv(table, folder)


def _argument_parser() -> Parser:
    parser = Parser(__doc__)

    def add(flag: str, text: str, **options: Any) -> None:
        parser.add_argument(flag, help=text, **options)

    add(
        "--only",
        f"suites: {', '.join(SUITES)} (default: all)",
        nargs="+",
        type=choice(SUITES),
        metavar="SUITE",
        default=[*SUITES],
    )
    add(
        "--networks",
        f"of {', '.join(NAMES)} (default: all)",
        nargs="+",
        type=choice(NAMES),
        default=[*NAMES],
        metavar="NETWORK",
    )
    add("--repeats", "rounds at most (default: 7)", type=_positive(int), metavar="N")
    add("--seconds", "of each contender's rounds (default: 20); slow ones have fewer", type=_positive(float))
    add("--patience", "seconds that a single call may take, as expected (default: 300)", type=_positive(float))
    add("--quick", "tiny sizes, two rounds: tries the program out", action="store_true")
    add("--device", "what to measure on: cpu or cuda (default: cpu)", type=choice(("cpu", "cuda")), default="cpu")
    add("--threads", "of the CPU (default: torch's, one per core)", type=_positive(int), metavar="N")
    add(
        "--output",
        "folder of what is written (default: outputs/benchmark)",
        type=Path,
        default="outputs/benchmark",
    )
    return parser


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < inf:
            what = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(f"expected {what} above 0, got {text!r}")
        return value

    return parse


def with_section(page: str, result: "Result", note: str) -> str:
    """The page with a suite's section put in, or in place of the suite's former one; the others stay."""
    from ccnn.benchmark.tables import in_markdown

    sections = {name: _section(page, name) for name in SUITES}
    lines = [f"## {result.title}", "", note, "", result.text]
    for table in result.all_tables():
        lines += ["", *in_markdown(table)]
    sections[result.suite] = "\n".join([_begin(result.suite), *lines, _end(result.suite)])
    return "\n".join([PAGE, *("\n".join([text, ""]) for text in sections.values() if text)])


def _section(page: str, suite: str) -> str:
    begin, end = page.find(_begin(suite)), page.find(_end(suite))
    return page[begin : end + len(_end(suite))] if 0 <= begin < end else ""


def _begin(suite: str) -> str:
    return f"<!-- {suite} -->"


def _end(suite: str) -> str:
    return f"<!-- end of {suite} -->"


def machine(device: str) -> str:
    """What the numbers hold for: date, commit, machine, versions, threads."""
    import torch
    import torchvision

    from ccnn.benchmark.workload import has_bf16
    from ccnn.runs.folder import environment

    about = environment(seed=0)
    git = about["git"]
    commit = (
        f"commit {git['commit'][:10]}{' with changes' if git['changed'] else ''}" if git else "no git checkout"
    )
    processor = _processor()
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores as threads"
    place = f"{processor} ({'bf16' if has_bf16('cpu') else 'no bf16'}), {threads}"
    if device == "cuda":
        place = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, Python {about['python']}"
    return f"{date.today()}, {commit}. {place}; {about['processor']}. {versions}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _free_memory(device: str) -> int | None:
    """Bytes that can be used, None if that is not known."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    # Kernels need some of their own, and so do others.
    return int(0.8 * 1024 * kilobytes[0]) if kilobytes else None


if __name__ == "__main__":
    with TemporaryDirectory() as compiled:
        # Empty, or compiling would take as long as reading what an earlier program has compiled.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(130)
