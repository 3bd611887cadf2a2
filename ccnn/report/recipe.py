"""How a run's settings differ from the paper's, which are those of conf/."""

from functools import cache
from typing import Any

from omegaconf import OmegaConf

from ccnn.report.group import Block
from ccnn.report.settings import Settings, conf_file, last_part, relevant_settings

Difference = tuple[str, object, object]
"""What was done differently, how it was done here, and how in the paper."""

_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000}
"""The data sets that the paper trains on, and their training images: with protocol=paper nothing is split off."""

_TRAINED_WITH = ("loss.", "mix.", "optimizer.", "scheduler.", "callbacks.")
_SEEN = ("data.image_size", "data.mean", "data.std", "data.augmentation.")
_TRAINER = {
    "trainer.devices": 1,
    "trainer.num_nodes": 1,
    "trainer.limit_train_batches": 1.0,
    "trainer.limit_val_batches": 1.0,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.gradient_clip_val": None,
    "trainer.max_steps": -1,
    "trainer.max_time": None,
}
"""Lightning's defaults of what changes a training. Precision is left out: it depends on the machine."""

_NAMES = {
    **{f"{group}._target_": group for group in ("loss", "mix", "optimizer")},
    "optimizer.lr": "learning rate",
    "optimizer.weight_decay": "weight decay",
    "scheduler._target_": "schedule",
}
_WITHOUT_EFFECT = ("optimizer._partial_", "optimizer.foreach", "optimizer.fused", "scheduler._partial_")


def differences(block: Block, settings: Settings) -> tuple[Difference, ...]:
    """How a training differs from the paper's, as far as both are known; nothing for data without a recipe.

    Args:
        block: what the run has in common with others of its table.
        settings: dotted keys of its config; empty if they are unknown.

    Example:
        >>> settings = {"optimizer._target_": "torch.optim.AdamW", "optimizer.lr": 0.001}
        >>> differences(Block("cifar10", "standard", "paper", 30, 50_000, 64), settings)
        (('epochs', 30, 300), ('optimizer', 'AdamW', 'SGD'))

    """
    if block.data not in _IMAGES:
        return ()
    conditions, recipe = _recipe(block.data, block.augment)
    result: list[Difference] = [
        (name, here, conditions[name])
        for name, here in zip(conditions, block[2:], strict=True)
        if here not in (None, conditions[name])
    ]
    groups = {key.partition(".")[0] for key in settings}
    # The settings of another optimizer are others by nature: its name says enough.
    targets = [key for key in _NAMES if key.endswith("_target_")]
    foreign = {key.partition(".")[0] for key in targets if settings.get(key, recipe.get(key)) != recipe.get(key)}
    others = sorted(key for key in settings if key.startswith(_TRAINED_WITH) and key not in recipe)
    for key in (*recipe, *others):
        group = key.partition(".")[0]
        unknown = group not in groups or (group == "data" and key not in settings)
        if unknown or key in _WITHOUT_EFFECT or (group in foreign and key not in targets):
            continue
        here, paper = settings.get(key, _TRAINER.get(key)), recipe.get(key)
        if not _same(key, here, paper):
            names = (last_part(here), last_part(paper)) if key in targets else (here, paper)
            result.append((_NAMES.get(key, key), *names))
    return tuple(result)


def part_tested(settings: Settings) -> object:
    """The `trainer.limit_test_batches` of a run that was scored on a part of the test set; None for all of it."""
    value = settings.get("trainer.limit_test_batches")
    return None if _same("trainer.limit_test_batches", value, 1.0) else value


@cache
def _recipe(data: str, augment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The paper's conditions by their names, and its settings by their keys."""
    choices = {"data": data, "optimizer": "sgd", "scheduler": "multistep", "loss": "cross_entropy"}
    config = OmegaConf.create({group: conf_file(group, name) for group, name in choices.items()})
    config.data.augment = augment
    config.trainer = {"max_epochs": config.data.recipe.max_epochs}
    conditions = {
        "protocol": "paper",
        "epochs": config.trainer.max_epochs,
        "training images": _IMAGES[data],
        "batch size": config.data.batch_size,
    }
    for key in ("protocol", "seed"):  # they belong to the run
        del config.data[key]
    settings: Any = OmegaConf.to_container(config, resolve=True)
    relevant = relevant_settings(settings)
    kept = {key: value for key, value in relevant.items() if key.startswith((*_TRAINED_WITH, *_SEEN))}
    return conditions, kept | _TRAINER


def _same(key: str, here: object, paper: object) -> bool:
    """Whether two values of a key mean the same to the training."""
    if key.startswith("trainer.limit_"):  # 1.0 is all batches, 1 a single one
        return here is None or (isinstance(here, float) and here == paper)
    if key == "trainer.devices" and isinstance(here, str):
        return here == "1" or (here.startswith("[") and "," not in here)
    return here == paper
