"""Gathers runs into the paper's tables: `python scripts/report.py outputs/sweeps/table1 --table table1`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.report import main

if __name__ == "__main__":
    main()
