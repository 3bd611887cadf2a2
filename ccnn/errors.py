"""The one exception for mistakes a user can make, with suggestions of near names."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in a config, a command line or the data: shown as its message alone, never as a traceback."""


def choices(name: str, known: Iterable[str]) -> str:
    """Says what was expected instead of `name`: near names first, then all of them.

    >>> choices("resnet5", ["resnet18", "resnet50", "toy"])
    "did you mean 'resnet50' or 'resnet18'? Choices: resnet18, resnet50, toy."
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    start = f"did you mean {' or '.join(map(repr, near))}? Choices" if near else "choices"
    return f"{start}: {', '.join(known)}."
