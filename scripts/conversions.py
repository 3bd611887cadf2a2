"""Evaluations of several seeds as a table: `python scripts/conversions.py outputs/evaluations --output report`."""

import argparse
import sys
from pathlib import Path

from ccnn.errors import UserError
from ccnn.report.conversions import gather, markdown, summaries, table
from ccnn.run_folder import write_text


def main() -> None:
    """Prints the table, and writes conversions.md and conversions.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="folder", help="holds evaluations, in it or below"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write conversions.md and .csv there")
    arguments = parser.parse_args()
    try:
        lines = summaries(gather(arguments.folders))
        print(markdown(lines), end="")
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            write_text(arguments.output / "conversions.md", markdown(lines))
            write_text(arguments.output / "conversions.csv", table(lines))
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: --output: {error.filename} cannot be written: {error.strerror}.")


if __name__ == "__main__":
    main()
