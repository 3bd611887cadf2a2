"""Command-line arguments of the scripts, whose mistakes end in one line and exit code 2."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NoReturn

from ccnn.errors import choices


class Parser(ArgumentParser):
    """argparse without abbreviations, and without the usage before each error.

    Args:
        description: what the script does: its docstring.
        epilog: examples, shown as they are.
    """

    def __init__(self, description: str | None, epilog: str | None = None) -> None:
        super().__init__(
            description=description,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Prints the message and ends the program."""
        text = message.removeprefix("argument ")
        if text.startswith("unrecognized arguments: "):
            option = text.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            near = get_close_matches(option, self._option_string_actions, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help shows those there are."
            text = f"{option}: there is no such option; {hint}"
        print(f"Error: {text}", file=sys.stderr)
        sys.exit(2)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The type of an argument: an integer from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if text.isascii() and text.removeprefix("-").isdigit() and low <= int(text) <= high:
            return int(text)
        raise ArgumentTypeError(f"got {text!r}, expected a whole number from {low} to {high}")

    return parse


def choice(known: Iterable[str]) -> Callable[[str], str]:
    """The type of an argument: one of the known names, in which a hyphen stands for an underscore."""
    names = list(known)

    def parse(text: str) -> str:
        name = text.replace("-", "_")
        if name in names:
            return name
        raise ArgumentTypeError(f"got {text!r}; {choices(name, names)}")

    return parse
