"""How the published code trains, and in what a run's settings differ from it."""

from typing import Any

from ccnn.report.paper import Column
from ccnn.report.runs import Condition, Mapped

Difference = tuple[str, object, object]
"""What was done in another way, how it was done here, and how by the paper."""

_SETTINGS = {
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 1e-4,
    "scheduler._target_": "ccnn.training.schedulers.multistep",
    "scheduler.fractions": "[0.5, 0.75]",
    "scheduler.gamma": 0.1,
    "data.image_size": 32,
    "data.mean": "[0.5071, 0.4867, 0.4408]",
    "data.std": "[0.2675, 0.2565, 0.2761]",
}
_MNIST = {
    "optimizer.weight_decay": 0.0,
    "data.image_size": 28,
    "data.mean": "[0.1307]",
    "data.std": "[0.3081]",
}
_CONDITIONS = {
    "cifar10": Condition("paper", 300, 50_000, 64),
    "cifar100": Condition("paper", 300, 50_000, 64),
    "mnist": Condition("paper", 100, 60_000, 16),
}
_AUGMENTATIONS: dict[tuple[bool, str], tuple[int, bool, float]] = {  # MNIST?, augment: padding, flip, rotation
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
"""Lightning's defaults of what changes the training. Its precision is left out: it is a matter of the machine."""

_WORDS = {
    "optimizer._target_": "optimizer",
    "optimizer.lr": "learning rate",
    "optimizer.weight_decay": "weight decay",
    "scheduler._target_": "schedule",
}
_WITHOUT_EFFECT = ("optimizer._partial_", "optimizer.foreach", "optimizer.fused", "scheduler._partial_")


def differences(column: Column, condition: Condition, settings: Mapped | None) -> tuple[Difference, ...]:
    """How a training differs from the paper's, in what is known of both.

    Args:
        column: the data.
        condition, settings: of a run; settings are None where its config.yaml is missing.

    Returns:
        None at all if the paper has no recipe for these data.
    """
    if column.data not in _CONDITIONS:
        return ()
    names = ("protocol", "epochs", "training images", "batch size")
    found: list[Difference] = [
        (name, here, paper)
        for name, here, paper in zip(names, condition, _CONDITIONS[column.data], strict=True)
        if here is not None and here != paper
    ]
    if settings is None:
        return tuple(found)
    recipe = _recipe(column)
    known = {key.partition(".")[0] for key in settings}
    targets = [key for key in recipe if key.endswith("._target_") and key in settings]
    foreign = {key.partition(".")[0] for key in targets if settings[key] != recipe[key]}
    others = {key for key in settings if key.startswith(("optimizer.", "scheduler."))}
    others -= {*recipe, *_WITHOUT_EFFECT}
    for key in (*recipe, *sorted(others)):
        group = key.partition(".")[0]
        if group not in known or (group == "data" and key not in settings):
            continue  # the run does not say
        if group in foreign and not key.endswith("_target_"):
            continue  # those of another optimizer are others by nature
        here, paper = settings.get(key, _TRAINER.get(key)), recipe.get(key)
        if not _same(key, here, paper):
            found.append((_WORDS.get(key, key), _short(key, here), _short(key, paper)))
    return tuple(found)


def part_tested(settings: Mapped | None) -> object:
    """The `trainer.limit_test_batches` of a run that was scored on a part of the test set; None for all of it."""
    value = (settings or {}).get("trainer.limit_test_batches")
    return None if value is None or _same("trainer.limit_test_batches", value, 1.0) else value


def _recipe(column: Column) -> dict[str, Any]:
    """The paper's settings for these data, by the dotted keys of a config."""
    mnist = column.data == "mnist"
    augmentation = _AUGMENTATIONS.get((mnist, column.augment))
    names = ("crop_padding", "flip", "rotation")
    keys = (f"data.augmentation.{name}" for name in names)
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
