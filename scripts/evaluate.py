"""Scores a network with given weights, plain and converted: `python scripts/evaluate.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli import attempt
from ccnn.cli.evaluate import HELP, job
from ccnn.config import validate


def main() -> None:
    """Does what the command line says."""
    words = sys.argv[1:]
    asked = job(words)
    validate(asked.config)
    from ccnn.evaluation import evaluate  # takes seconds to import, so only for a valid configuration

    evaluate(asked.config, asked.folder, words, asked.run, asked.checkpoint)


if __name__ == "__main__":
    if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv):
        print(HELP, end="")
    else:
        attempt(main, debug="debug=true" in sys.argv)
