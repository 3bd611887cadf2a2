"""Checks each `_target_` of a configuration against the signature of what it builds."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ccnn.config.annotations import mismatch
from ccnn.errors import UserError, choices

_DESCRIPTIVE = {
    "data": {"name", "channels", "image_size", "num_classes", "augment", "augmentations", "recipe"},
    "model": {"name"},
    "optimizer": {"decay_norm_and_bias"},
    "scheduler": {"interval", "frequency", "monitor"},
    "trainer": {"channels_last"},
}
"""Keys for the program or for other keys to refer to: arguments only if the signature has them."""

_SUPPLIED = {
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
    "trainer": {"callbacks", "logger", "enable_checkpointing", "plugins"},
}
"""Arguments that the program fills in."""

TOTAL_STEPS = "total_steps"
"""The length of the training in optimizer steps, filled in for a schedule that asks for it."""


def arguments(key: str, node: dict[str, Any]) -> dict[str, Any]:
    """Returns the node at `key` without what only describes it, ready for `hydra.utils.instantiate`.

    Example:
        >>> arguments("model", {"_target_": "torch.nn.Identity", "name": "mine"})
        {'_target_': 'torch.nn.Identity'}
    """
    described = _DESCRIPTIVE.get(key, set()) - inspect.signature(get_object(node["_target_"])).parameters.keys()
    return {name: value for name, value in node.items() if name not in described}


def validate_targets(config: DictConfig) -> None:
    """Imports what the configuration names, and compares names and simple types of all arguments.

    Raises:
        UserError: one line for each mistake.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    problems = [problem for key, node in targets(plain, "") for problem in _check(key, node)]
    if problems:
        raise UserError("\n".join(problems))


def targets(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields everything to build in a tree of plain values: its key, beginning with `key`, and its node."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from targets(value, f"{key}.{name}" if key else str(name))


def _check(key: str, node: dict[str, Any]) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        built = get_object(target)
        parameters = inspect.signature(built).parameters
    except (InstantiationException, ImportError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[:2][-1].rstrip(".")  # Hydra's first line repeats the target
        if f"No module named '{target.partition('.')[0]}'" in reason:
            reason += "; a module of your own has to be on PYTHONPATH"
        yield f"{key}._target_: expected the dotted name of a class or function, got {target!r}: {reason}."
        return
    given = {n: value for n, value in arguments(key, node).items() if not (n.startswith("_") and n.endswith("_"))}
    supplied = _SUPPLIED.get(key, set())
    known = {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    hints = _hints(built)
    for name, value in given.items():
        if name in supplied:
            where = f"see conf/{name}" if name in ("callbacks", "logger") else "the program fills it in"
            yield f"{key}.{name}: cannot be set here; {where}."
        elif name in known:
            nested = isinstance(value, dict) and "_target_" in value
            problem = None if nested else mismatch(f"{key}.{name}", value, hints.get(name, Any))
            if problem:
                yield problem
        elif all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            expected = choices(name, known - supplied) if known - supplied else "it takes none."
            yield f"{key}.{name}: {target} takes no such argument; {expected}"
    for name in sorted(known - supplied - {TOTAL_STEPS} - given.keys()):
        if parameters[name].default is inspect.Parameter.empty and not node.get("_args_"):
            yield f"{key}.{name}: is missing; {target} needs it."


def _hints(built: Any) -> dict[str, Any]:
    """The annotations of the arguments; none if they cannot be evaluated."""
    try:
        return get_type_hints(built.__init__ if inspect.isclass(built) else built, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}
