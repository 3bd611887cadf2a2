"""Checks each `_target_` of a configuration against the signature of what it builds."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ccnn.config.annotations import mismatch
from ccnn.errors import UserError, choices

DESCRIPTIVE = {"data": {"augment", "augmentations", "recipe"}, "model": {"name"}}
"""Keys that other parts of the config refer to and that are not arguments of what their group builds."""

_SUPPLIED = {
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
    "trainer": {"callbacks", "logger", "enable_checkpointing", "plugins"},
}
"""Arguments that the program fills in itself."""


_OWN_GROUP = {"callbacks": "see conf/callbacks", "logger": "see conf/logger"}


def validate_targets(config: DictConfig) -> None:
    """Imports what the configuration names, and compares names and simple types of all arguments.

    Raises:
        UserError: one line for each mistake found.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    problems = [problem for key, node in targets(plain, "") for problem in _check(key, node)]
    if problems:
        raise UserError("\n".join(problems))


def targets(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything to build in a tree of plain values: its key, beginning with `key`, and its node."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from targets(value, f"{key}.{name}" if key else str(name))


def _check(key: str, node: dict[str, Any]) -> list[str]:
    target = str(node["_target_"])
    try:
        made = get_object(target)
        parameters = inspect.signature(made).parameters
    except (InstantiationException, ImportError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        return [f"{key}._target_: expected the dotted name of a class or function, got {target!r}: {reason}"]
    given = {name: value for name, value in node.items() if name not in DESCRIPTIVE.get(key, ())}
    given = {name: value for name, value in given.items() if not _reserved(name)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    supplied = _SUPPLIED.get(key, set())
    known = {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    hints = _hints(made)
    problems: list[str | None] = []
    for name, value in given.items():
        if name in supplied:
            problems.append(
                f"{key}.{name}: cannot be set here; {_OWN_GROUP.get(name, 'the program fills it in')}."
            )
        elif name in known:
            nested = isinstance(value, dict) and "_target_" in value
            problems.append(None if nested else mismatch(f"{key}.{name}", value, hints.get(name, Any)))
        elif not open_ended:
            problems.append(f"{key}.{name}: {target} takes no such argument; {_names(name, known - supplied)}")
    for name, parameter in parameters.items():
        if name in known - supplied - given.keys() and parameter.default is parameter.empty:
            problems.append(f"{key}.{name}: is missing; {target} needs it.")
    return [problem for problem in problems if problem]


def _reserved(name: str) -> bool:
    return name.startswith("_") and name.endswith("_")


def _names(name: str, known: set[str]) -> str:
    return choices(name, known) if known else "it takes none."


def _hints(made: Any) -> dict[str, Any]:
    """The annotations of what `made` is called with; none where they cannot be evaluated."""
    try:
        return get_type_hints(made.__init__ if inspect.isclass(made) else made, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}
