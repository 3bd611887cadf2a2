"""Scores trained CNNs, plain and converted, without any training: mean and spread over seeds.

    python scripts/conversions.py outputs/sweeps/study_* evaluation.limit=2000 --output docs/results

Each finished CNN in and below the folders is evaluated once, into the folder `conversions` of its run; CNNs that
were trained for longer, at a CCNN's compute, are left out. Words with = are those of scripts/evaluate.py; by
default all methods are scored with both borders, on all test images.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser
from ccnn.cli.errors import run_command
from ccnn.cli.evaluate import evaluation_config
from ccnn.config import validate
from ccnn.config.composition import compose
from ccnn.errors import UserError
from ccnn.evaluation.record import RESULT
from ccnn.report import conversions
from ccnn.report.records import read_runs

DEFAULTS = ("evaluation.samplings=[naive,lattice,three_quarters,complete]", "evaluation.borders=[zeros,replicate]")


def main() -> None:
    """Reads the command line; evaluates, prints the table and writes its files."""
    parser = Parser(__doc__)
    parser.add_argument(
        "words", nargs="+", metavar="folder|key=value", help="contains runs; or a word of evaluate.py"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write conversions.md and .csv there")
    arguments = parser.parse_args()
    words = [word for word in arguments.words if "=" in word]
    folders = [Path(word) for word in arguments.words if "=" not in word]
    run_command(lambda: run(folders, words, arguments.output))


def run(folders: Sequence[Path], words: Sequence[str], output: Path | None) -> None:
    """Evaluates what is not evaluated yet, and tabulates all.

    Raises:
        UserError: a folder does not exist or contains no trained CNN, a word is wrong, or nothing can be written.
    """
    runs, problems = read_runs(folders)
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    trained = conversions.trained_cnns(runs)
    if trained.runs.empty:
        raise UserError(
            f"{', '.join(map(str, folders))}: contains no trained CNN (convert=false); nothing to convert."
        )
    words = [*DEFAULTS, *words]  # the last word for a key counts
    for folder in trained.runs["folder"]:
        place = folder / conversions.FOLDER
        if not (place / RESULT).exists():
            config, trained_run, _ = evaluation_config(compose("evaluate", [f"run='{folder}'", *words]), words)
            validate(config)
            from ccnn.evaluation.run import evaluate  # takes seconds to import, so only for a valid configuration

            evaluate(config, place, words, trained_run)
    report = conversions.report(trained)
    report.print("markdown")
    if output:
        report.write(output, "conversions", ("md", "csv"))


if __name__ == "__main__":
    main()
