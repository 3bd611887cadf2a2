"""Scores trained CNNs, plain and converted, without any training: mean and spread over seeds.

    python scripts/conversions.py outputs/sweeps/study_* evaluation.limit=2000 --output docs/results

Each finished CNN in and below the folders is evaluated once, into the folder `conversions` of its run; longer
trainings at a CCNN's compute are left out. Words with = are those of scripts/evaluate.py; without any, all methods
are scored with both borders, on all test images.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from hydra import compose, initialize_config_dir

from ccnn.cli.arguments import Parser
from ccnn.cli.errors import run_command
from ccnn.cli.evaluate import evaluation_config
from ccnn.config import CONF, validate
from ccnn.errors import UserError
from ccnn.files import write_text
from ccnn.report import conversions
from ccnn.report.compute import set_beside
from ccnn.report.folders import gather

DEFAULTS = ("evaluation.samplings=[naive,lattice,three_quarters,complete]", "evaluation.borders=[zeros,replicate]")


def main() -> None:
    """Reads the command line; evaluates, prints the table and writes its files."""
    parser = Parser(__doc__)
    parser.add_argument(
        "words", nargs="+", metavar="folder|key=value", help="holds runs; or a word of evaluate.py"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write conversions.md and .csv there")
    arguments = parser.parse_args()
    words = [word for word in arguments.words if "=" in word]
    folders = [Path(word) for word in arguments.words if "=" not in word]
    run_command(lambda: run(folders, words, arguments.output))


def run(folders: Sequence[Path], words: Sequence[str], output: Path | None) -> None:
    """Evaluates what is not evaluated yet and makes the table of all.

    Raises:
        UserError: a folder does not exist or holds no CNN that is trained, a word is wrong, or nothing can be
            written.
    """
    runs, problems = gather(folders)
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    trained = [run for run in set_beside(runs) if run.finished and run.sampling is None and not run.longer]
    if not trained:
        raise UserError(
            f"{', '.join(map(str, folders))}: holds no CNN that is trained (convert=false); nothing to convert."
        )
    words = [*DEFAULTS, *words]  # of one key's the last one counts
    for each in trained:
        place = each.folder / conversions.FOLDER
        if not (place / "evaluation.json").exists():
            with initialize_config_dir(str(CONF), version_base="1.3"):
                config = compose("evaluate", overrides=[f"run='{each.folder}'", *words])
            config, folder, _ = evaluation_config(config, words)
            validate(config)
            from ccnn.evaluation import evaluate  # takes seconds to import, so only for a valid configuration

            evaluate(config, place, words, folder)
    lines, notes = conversions.summaries(trained)
    text = conversions.markdown(lines, notes)
    print(text, end="")
    if output:
        try:
            output.mkdir(parents=True, exist_ok=True)
            write_text(output / "conversions.md", text)
            write_text(output / "conversions.csv", conversions.table(lines))
        except OSError as error:
            raise UserError(f"--output: {error.filename} cannot be written: {error.strerror}.") from error


if __name__ == "__main__":
    main()
