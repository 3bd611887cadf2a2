"""Which settings of a run can change its result, and which of them make its network another one."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ccnn.config import CONF

Settings = Mapping[str, Any]

_IRRELEVANT = (
    "seed", "debug", "output_dir", "experiment", "hydra", "callbacks.", "logger.", "evaluation.",
    "resume", "sweep", "exclude", "task", "trust", "checkpointing", "channels_last", "compile",
    "convert", "sampling", "protocol", "data.batch_size", "data.train_images",
    "data.augmentations.", "data.recipe.", "data.validation_fraction", "data.protocol", "data.root",
    "data.download", "data.num_workers", "data.seed", "data.eval_batch_size",
    "trainer.max_epochs", "scheduler.max_epochs", "trainer.strategy", "trainer.default_root_dir",
    "trainer.accelerator", "trainer.enable", "trainer.log_every", "trainer.num_sanity",
    "trainer.use_distributed_sampler", "trainer.deterministic", "trainer.channels_last", "model.checkpointing",
)  # fmt: skip
"""How the keys of a config begin that do not change the result, or have columns of their own."""

_ADDED = {"loss._target_": "torch.nn.CrossEntropyLoss", "optimizer.decay_norm_and_bias": True}
"""Settings that older versions had without recording them."""

_OBSERVERS = ("ModelCheckpoint", "Progress", "Throughput", "Pictures", "LearningRateMonitor", "RichProgressBar")
"""Callbacks that do not change the training."""


def relevant_settings(config: Settings) -> dict[str, Any]:
    """Dotted keys and values of all in a config that can make two runs of one cell incomparable.

    Example:
        >>> list(relevant_settings({"seed": 3, "optimizer": {"lr": 0.1}}))
        ['loss._target_', 'optimizer.decay_norm_and_bias', 'optimizer.lr']

    """
    settings = {key: _home(value) for key, value in flatten(config).items() if not key.startswith(_IRRELEVANT)}
    return {**_ADDED, **settings, **_callbacks(config)} if config else {}


def full_name(name: str, model: Settings) -> str:
    """The model's name, with whatever makes it another network than the one of that name in conf/model."""
    target = str(model.get("_target_", ""))
    if target.endswith(("torchvision_model", "timm_model")):
        return f"{name} ({target.rpartition('.')[2].removesuffix('_model')})"
    if target and not target.startswith("ccnn."):
        return f"{name} ({target.partition('.')[0]})"
    known: Any = OmegaConf.to_container(conf_file("model", name))
    follow_the_data = ("name", "in_channels", "num_classes", "checkpointing")
    changed = [
        f"model.{key}={str(value).replace(' ', '')}"
        for key, value in model.items()
        if known and key not in follow_the_data and (key not in known or _home(value) != _home(known[key]))
    ]
    return " ".join([name, *changed])


@cache
def conf_file(group: str, name: str) -> DictConfig:
    """A file of conf/ with those that its defaults name, values as written; empty if there is none."""
    path = CONF / group / f"{name}.yaml"
    content = OmegaConf.load(path) if path.is_file() else OmegaConf.create()
    assert isinstance(content, DictConfig)
    inherited = [conf_file(group, other) for other in content.pop("defaults", []) if other != "_self_"]
    merged = OmegaConf.merge(*inherited, content)
    assert isinstance(merged, DictConfig)
    return merged


def flatten(tree: Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a tree and their values; lists become text.

    >>> flatten({"optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "seed": 0})
    {'optimizer.lr': 0.1, 'optimizer.betas': '[0.9, 0.99]', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value) if isinstance(value, list) else value
    return flat


def _home(value: object) -> object:
    """A target without its module, if it is ours: modules have moved between versions."""
    return f"ccnn.{last_part(value)}" if isinstance(value, str) and value.startswith("ccnn.") else value


def _callbacks(config: Settings) -> dict[str, str]:
    """Callbacks that may change the training or its weights: `{"callbacks.ema": "decay=0.999"}`."""
    return {
        f"callbacks.{name}": " ".join(
            f"{key}={value}" for key, value in flatten(node).items() if key != "_target_"
        )
        for name, node in mapping(config, "callbacks").items()
        if isinstance(node, Mapping) and last_part(node.get("_target_")) not in _OBSERVERS
    }


def mapping(tree: Settings, key: str) -> Settings:
    """The group of a config; empty if it has none of that name."""
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}


def last_part(target: object) -> str | None:
    """The last name of a `_target_`, without its modules."""
    return target.rpartition(".")[2] if isinstance(target, str) else None
