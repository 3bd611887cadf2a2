"""Which `_target_`s of a saved configuration may be built: a run's folder can come from somebody else."""

import re
from collections.abc import Iterator
from functools import cache
from inspect import isclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object

from ccnn.config import CONF
from ccnn.errors import UserError

# Whole packages would be too much: torchvision downloads and unpacks files, timm unpickles them. Constructors of
# these classes neither run code that their arguments name nor read files.
_BASES = {
    "torch.nn.": "torch.nn.Module",
    "torch.optim.": "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.": "torch.optim.lr_scheduler.LRScheduler",
    "pytorch_lightning.callbacks.": "pytorch_lightning.Callback",
}


def check_targets(word: str, saved: Any, own: Any = None) -> None:
    """Raises if a saved configuration would build anything unusual.

    Allowed is what conf/ names, layers, optimizers, schedules and callbacks of torch and Lightning, and what the
    user's own configuration names.

    Args:
        word: of the command line that names the run: `resume` or `run`.
        saved: the configuration in a run's folder, as plain dicts, lists and values.
        own: composed from conf/ and the command line, likewise plain.

    Raises:
        UserError: one line for each key; nothing was imported or called.

    Example:
        >>> check_targets("resume", {"model": {"_target_": "torch.nn.GELU"}})
        >>> check_targets("resume", {"model": [{"_target_": "os.system"}]})
        Traceback (most recent call last):
        ...
        ccnn.errors.UserError: resume: model[0]._target_ is 'os.system' in the run's config.yaml, which ccnn does \
not build for a folder it does not know. If the folder is yours, add trust=true.
    """
    allowed = {target for _, target in _targets(own, "")}
    problems = [
        f"{word}: {key} is {target!r} in the run's config.yaml, which ccnn does not build for a folder it does "
        "not know. If the folder is yours, add trust=true."
        for key, target in _targets(saved, "")
        if target not in allowed and not _usual(target)
    ]
    if problems:
        raise UserError("\n".join(problems))


def needs_trust(config: Any) -> bool:
    """Whether `resume=` needs `trust=true` for a run of this configuration.

    >>> needs_trust({"logger": {"mine": {"_target_": "my_package.Logger"}}})
    True
    """
    return not all(_usual(target) for _, target in _targets(config, ""))


def _targets(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every key and value that Hydra would look up and call, in dicts and in lists."""
    if isinstance(node, dict):
        for name, value in node.items():
            inner = f"{key}.{name}" if key else str(name)
            if name == "_target_":
                yield inner, value if isinstance(value, str) else repr(value)
            yield from _targets(value, inner)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _targets(value, f"{key}[{number}]")


def _usual(target: str) -> bool:
    return target in _named_in_conf() or any(
        target.startswith(package) and _is_class(target, package, base) for package, base in _BASES.items()
    )


@cache
def _named_in_conf() -> set[str]:
    """Targets of all groups but hydra, whose classes start processes."""
    paths = (path for path in CONF.rglob("*.yaml") if path.relative_to(CONF).parts[0] != "hydra")
    texts = (path.read_text(encoding="utf-8") for path in paths)
    return {target for text in texts for target in re.findall(r"^\s*_target_:\s*([\w.]+)", text, re.MULTILINE)}


def _is_class(target: str, package: str, base: str) -> bool:
    """Whether the package itself defines such a class, unlike `torch.nn.init.os.system`, which it imports."""
    try:
        made: Any = get_object(target)
    except (InstantiationException, ImportError, ValueError):
        return False
    return isclass(made) and issubclass(made, get_object(base)) and f"{made.__module__}.".startswith(package)
