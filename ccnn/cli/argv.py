"""The words of train.py's command line, before Hydra reads them."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from ccnn.cli.messages import like
from ccnn.errors import UserError

_FLAGS = {option: action for action in get_args_parser()._actions for option in action.option_strings}
"""Hydra's own."""


def in_order(words: Sequence[str]) -> list[str]:
    """The same words, flags first: Hydra takes no override after a flag that follows another override.

    Raises:
        UserError: a word is neither a flag of Hydra's nor an override.
    """
    flags: list[str] = []
    overrides: list[str] = []
    for number, word in enumerate(words):
        name = word.partition("=")[0]
        if number and words[number - 1] in _FLAGS and _FLAGS[words[number - 1]].nargs != 0:
            flags.append(word)
        elif not word.startswith("-"):
            overrides.append(word)
        elif name in _FLAGS:
            flags.append(word)
        else:
            raise UserError(_no_flag(name))
    for word in overrides:
        if word.startswith("=") or ("=" not in word and not word.startswith("~")):
            raise UserError(f"{word}: expected key=value, without spaces around the =, as in optimizer.lr=0.1")
    return flags + overrides


def _no_flag(flag: str) -> str:
    name = flag.lstrip("-").replace("-", "_")
    near = like(name)
    hint = f"did you mean {' or '.join(f'{key}=…' for key in near)}?" if near else "--cfg job shows all keys."
    return f"{flag}: there is no such flag; settings are written key=value, as in trainer.max_epochs=10; {hint}"
