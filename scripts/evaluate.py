"""Scores a network with given weights, plain and converted: `python scripts/evaluate.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.evaluate import main

if __name__ == "__main__":
    main()
