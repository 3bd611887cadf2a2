"""What the configuration of somebody else's run may have built."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ccnn.config.targets import targets
from ccnn.errors import UserError

_TRUSTED = ("ccnn.", "torch.nn.", "torch.optim.", "torchvision.", "timm.", "pytorch_lightning.", "lightning.")


def refuse_foreign_targets(word: str, saved: DictConfig, config: DictConfig) -> None:
    """Refuses a saved configuration that names anything to call but networks and their training.

    Args:
        word: of the command line that names the run: `resume` or `run`.
        saved: read from a run's folder.
        config: from conf/ and the command line; what it names is the user's own choice.

    Raises:
        UserError: one line for each such key; nothing was imported for it.
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
    """Whether it is one of these packages', and not what they import, such as `torch.nn.init.os.system`."""
    if not target.startswith(_TRUSTED):
        return False
    try:
        made: Any = get_object(target)
    except (InstantiationException, ImportError, ValueError):
        return True  # there is no such thing: told by the validation, with what there is
    return f"{getattr(made, '__module__', '')}.".startswith(_TRUSTED)
