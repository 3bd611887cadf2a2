"""Measures what CCNNs cost: time, memory and multiply-adds of networks, layers and the input pipeline.

Each suite writes SUITE.csv with all numbers, SUITE.md with a short table and, for networks, a plot SUITE.png.
"""

import logging
import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser, choice, whole_number

SUITES = ("speed", "layers", "methods", "profile", "table3", "input")


def main() -> None:
    """Reads the command line, measures the suites and writes what they found."""
    parser = Parser(__doc__)
    parser.add_argument("--only", nargs="+", type=choice(SUITES), metavar="SUITE", default=SUITES,
                        help=f"suites: {', '.join(SUITES)} (default: all)")  # fmt: skip
    parser.add_argument("--networks", nargs="+", metavar="NETWORK", help="only these networks (default: all)")
    parser.add_argument("--rounds", type=whole_number(1, 1000), metavar="N", help="at most (default: 7; quick: 2)")
    parser.add_argument("--quick", action="store_true",
                        help="three networks, tiny sizes, two rounds: tries the program out")  # fmt: skip
    parser.add_argument("--device", type=choice(("cpu", "cuda")), default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=whole_number(1, 1024), metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--output", type=Path, default="outputs/benchmark", metavar="FOLDER",
                        help="where the files are written (default: outputs/benchmark)")  # fmt: skip
    arguments = parser.parse_args()

    # Importing these takes seconds, so only for a valid command line.
    import torch

    from ccnn.benchmark import images, layers, profile, suites
    from ccnn.benchmark.job import free_memory
    from ccnn.benchmark.output import short_table, write
    from ccnn.benchmark.timing import Limits

    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: torch finds no GPU; use --device cpu")
    default = suites.QUICK if arguments.quick else suites.NETWORKS
    try:
        networks = [choice(suites.NETWORKS)(name) for name in arguments.networks or default]
        arguments.output.mkdir(parents=True, exist_ok=True)
    except ArgumentTypeError as error:
        parser.error(f"--networks: {error}")
    except OSError as error:
        parser.error(f"--output: {error}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rounds, seconds, patience = (2, 2.0, 20.0) if arguments.quick else (7, 20.0, 300.0)
    limits = Limits(arguments.rounds or rounds, seconds, patience, free_memory(arguments.device))
    options = suites.Options(arguments.device, limits, arguments.quick, networks)
    others = {"layers": layers.measure_layers, "profile": profile.measure_profile, "input": images.measure_input}
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in arguments.only:
        frame = others[name](options) if name in others else suites.measure_suite(name, options)
        if not frame.empty:
            print(f"\n{name}: {short_table(name, frame)}\n")
            print("Written:", *write(name, frame, arguments.output, arguments.device))


if __name__ == "__main__":
    with TemporaryDirectory() as cache:
        # An empty cache: compiling would otherwise take only the time of reading earlier results.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        main()
