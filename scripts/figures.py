"""Makes every figure of docs/figures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser
from ccnn.cli.errors import run_command


def main() -> None:
    """Reads the command line and makes the figures, one after another."""
    parser = Parser(__doc__)
    folder = Path(__file__).parents[1] / "docs/figures"
    parser.add_argument("--output", type=Path, default=folder, metavar="FOLDER", help="default: docs/figures")
    arguments = parser.parse_args()
    from ccnn.figures.figures import FIGURES  # takes seconds, so only for a valid command line

    for name, write in FIGURES.items():
        write(arguments.output / name)
        print(arguments.output / name, flush=True)


if __name__ == "__main__":
    run_command(main)
