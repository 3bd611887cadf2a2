"""The paper's training recipe, and how a run's settings differ from it."""

from collections.abc import Mapping
from typing import Any

from ccnn.report.group import Block

Settings = Mapping[str, Any]
Difference = tuple[str, object, object]
"""What was done differently, how it was done here, and how in the paper."""

_CONDITIONS = {
    "cifar10": ("paper", 300, 50_000, 64),
    "cifar100": ("paper", 300, 50_000, 64),
    "mnist": ("paper", 100, 60_000, 16),
}
"""Protocol, epochs, training images and batch size."""

_SETTINGS = {
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 1e-4,
    "optimizer.decay_norm_and_bias": True,
    "loss._target_": "torch.nn.CrossEntropyLoss",
    "mix._target_": None,
    "scheduler._target_": "ccnn.multistep",
    "scheduler.fractions": "[0.5, 0.75]",
    "scheduler.gamma": 0.1,
    "data.image_size": 32,
    "data.mean": "[0.5071, 0.4867, 0.4408]",
    "data.std": "[0.2675, 0.2565, 0.2761]",
}
_MNIST = {"optimizer.weight_decay": 0.0, "data.image_size": 28, "data.mean": "[0.1307]", "data.std": "[0.3081]"}
_AUGMENTATIONS = {  # MNIST?, augment: padding, flip, rotation
    (False, "none"): (0, False, 0.0),
    (False, "standard"): (4, True, 0.0),
    (True, "none"): (0, False, 0.0),
    (True, "shift"): (2, False, 0.0),
    (True, "standard"): (2, False, 15.0),
}
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
    "loss._target_": "loss",
    "mix._target_": "mix",
    "optimizer._target_": "optimizer",
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
    if block.data not in _CONDITIONS:
        return ()
    names = ("protocol", "epochs", "training images", "batch size")
    conditions = zip(names, block[2:], _CONDITIONS[block.data], strict=True)
    found: list[Difference] = [
        (name, here, paper) for name, here, paper in conditions if here not in (None, paper)
    ]
    recipe = _recipe(block)
    groups = {key.partition(".")[0] for key in settings}
    # The settings of another optimizer are others by nature: its name says enough.
    foreign = {
        key.partition(".")[0]
        for key in _NAMES
        if "_target_" in key and settings.get(key, recipe[key]) != recipe[key]
    }
    trained_with = ("callbacks.", "loss.", "mix.", "optimizer.", "scheduler.")
    others = {key for key in settings if key.startswith(trained_with)} - {*recipe, *_WITHOUT_EFFECT}
    for key in (*recipe, *sorted(others)):
        group = key.partition(".")[0]
        unknown = group not in groups or (group == "data" and key not in settings)
        if unknown or (group in foreign and not key.endswith("_target_")):
            continue
        here, paper = settings.get(key, _TRAINER.get(key)), recipe.get(key)
        if not _same(key, here, paper):
            found.append((_NAMES.get(key, key), _short(key, here), _short(key, paper)))
    return tuple(found)


def part_tested(settings: Settings) -> object:
    """The `trainer.limit_test_batches` of a run that was scored on a part of the test set; None for all of it."""
    value = settings.get("trainer.limit_test_batches")
    return None if _same("trainer.limit_test_batches", value, 1.0) else value


def _recipe(block: Block) -> dict[str, Any]:
    mnist = block.data == "mnist"
    keys = ("data.augmentation.crop_padding", "data.augmentation.flip", "data.augmentation.rotation")
    augmentation = _AUGMENTATIONS.get((mnist, block.augment))
    return {
        **_SETTINGS,
        **(_MNIST if mnist else {}),
        **(dict(zip(keys, augmentation, strict=True)) if augmentation else {}),
        **_TRAINER,
    }


def _same(key: str, here: object, paper: object) -> bool:
    """Whether two values of a key mean the same to the training."""
    if key.startswith("trainer.limit_"):  # 1.0 is all batches, 1 a single one
        return here is None or (isinstance(here, float) and here == paper)
    if key == "trainer.devices" and isinstance(here, str):
        return here == "1" or (here.startswith("[") and "," not in here)
    return here == paper


def _short(key: str, value: object) -> object:
    return value.rpartition(".")[2] if key.endswith("_target_") and isinstance(value, str) else value
