"""What the configuration of somebody else's run may have built."""

import re
from functools import cache
from inspect import isclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ccnn.config import CONF
from ccnn.config.targets import targets
from ccnn.errors import UserError

_BASES = {
    "torch.nn.": "torch.nn.Module",
    "torch.optim.": "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.": "torch.optim.lr_scheduler.LRScheduler",
    "pytorch_lightning.callbacks.": "pytorch_lightning.Callback",
}
"""What may be built beside what conf/ names itself: by package, subclasses of a class.

A whole package would be too much: torchvision downloads and unpacks files, timm unpickles them.
"""


def refuse_foreign_targets(word: str, saved: DictConfig, config: DictConfig) -> None:
    """Refuses a saved configuration that names anything to call but what conf/ does, layers and optimizers.

    Args:
        word: of the command line that names the run: `resume` or `run`.
        saved: read from a run's folder.
        config: from conf/ and the command line; what it names is the user's own choice.

    Raises:
        UserError: one line for each such key; nothing of it was called.
    """
    problems = []
    for key, node in targets(OmegaConf.to_container(saved, resolve=True), ""):
        target = str(node["_target_"])
        if OmegaConf.select(config, f"{key}._target_") != target and not _trusted(target):
            problems.append(
                f"{word}: {key}._target_ is {target!r} in the run's config.yaml, which is not called unasked. If "
                f"you trust it, add ++{key}._target_={target}"
            )
    if problems:
        raise UserError("\n".join(problems))


def _trusted(target: str) -> bool:
    return target in _named_in_conf() or any(
        target.startswith(package) and _is_class(target, package, base) for package, base in _BASES.items()
    )


@cache
def _named_in_conf() -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in CONF.rglob("*.yaml"))
    return {target for text in texts for target in re.findall(r"_target_:\s*([\w.]+)", text)}


def _is_class(target: str, package: str, base: str) -> bool:
    """Whether it is such a class, and not what the package imports, as `torch.nn.init.os.system` is."""
    try:
        made: Any = get_object(target)
    except (InstantiationException, ImportError, ValueError):
        return True  # there is no such thing: told by the validation, with what there is
    return isclass(made) and issubclass(made, get_object(base)) and f"{made.__module__}.".startswith(package)
