"""Command-line arguments of the scripts, and mistakes in them: one line and exit code 2."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NoReturn

from ccnn.errors import choices


class Parser(ArgumentParser):
    """argparse without abbreviations, whose errors are one line that says what to type instead.

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
        """Prints the message as one line and ends the program."""
        text = message.removeprefix("argument ")
        if text.startswith("unrecognized arguments: "):
            text = self._unrecognized(text.removeprefix("unrecognized arguments: ").split()[0])
        print(f"Error: {text}" if text.endswith((".", "?")) else f"Error: {text}.", file=sys.stderr)
        sys.exit(2)

    def _unrecognized(self, word: str) -> str:
        known = [option for action in self._actions for option in action.option_strings]
        near = get_close_matches(word.partition("=")[0], known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see --help for those there are"
        return f"{word}: there is no such option; {hint}"


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument's type: a whole number within bounds, both included."""

    def parse(text: str) -> int:
        if text.isascii() and text.removeprefix("-").isdigit() and low <= int(text) <= high:
            return int(text)
        raise ArgumentTypeError(f"got {text!r}, expected a whole number from {low} to {high}")

    return parse


def choice(known: Iterable[str]) -> Callable[[str], str]:
    """An argument's type: one of the known names; a hyphen goes for an underscore."""
    names = list(known)

    def parse(text: str) -> str:
        name = text.replace("-", "_")
        if name in names:
            return name
        raise ArgumentTypeError(f"got {text!r}; {choices(name, names)}")

    return parse
