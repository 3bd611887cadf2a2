"""Makes every figure of docs/figures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser
from ccnn.errors import UserError

EXAMPLES = """examples:
  python scripts/figures.py
  python scripts/figures.py --output /tmp/figures"""


def main() -> None:
    """Reads the command line, makes the figures and tells where they are."""
    parser = Parser(__doc__, EXAMPLES)
    folder = Path(__file__).parents[1] / "docs" / "figures"
    parser.add_argument("--output", type=Path, default=folder, metavar="FOLDER", help="default: docs/figures")
    arguments = parser.parse_args()
    from ccnn.figures.figures import make_all  # takes seconds, so only for a valid command line

    print("Written:", *make_all(arguments.output), sep="\n  ")


if __name__ == "__main__":
    try:
        main()
    except UserError as mistake:
        print(f"Error: {mistake}", file=sys.stderr)
        sys.exit(2)
