"""Types and ranges of the configuration's keys, checked before torch is even imported."""

import re
from collections.abc import Iterator
from math import isfinite
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
from ccnn.config.annotations import Bound, mismatch
from ccnn.errors import UserError, choices


def is_folder_name(value: str) -> bool:
    """Tells whether a text names a folder directly inside outputs/sweeps."""
    return re.fullmatch(r"\w[\w.+-]*", value, re.ASCII) is not None


def _is_devices(value: Any) -> bool:
    if isinstance(value, str):
        return value == "auto" or all(part.strip().isdigit() for part in value.split(","))
    if isinstance(value, list):
        return bool(value) and all(type(device) is int and device >= 0 for device in value)
    return type(value) is int and (value >= 1 or value == -1)


_Count = Annotated[int, Bound("≥ 1", lambda value: value >= 1)]
_Index = Annotated[int, Bound("≥ 0", lambda value: value >= 0)]
_Classes = Annotated[int, Bound("≥ 2", lambda value: value >= 2)]
_Seed = Annotated[int, Bound("from 0 to 4294967295", lambda value: 0 <= value < 2**32)]
_Positive = Annotated[float, Bound("> 0", lambda value: value > 0 and isfinite(value))]
_NotNegative = Annotated[float, Bound("≥ 0", lambda value: value >= 0 and isfinite(value))]
_BelowOne = Annotated[float, Bound("in [0, 1)", lambda value: 0 <= value < 1)]
_Folder = Annotated[str, Bound("that is a folder's name: letters, digits, - _ .", is_folder_name)]
_Devices = Annotated[
    Any, Bound("a number ≥ 1, a list of the devices' numbers, or auto for all there are", _is_devices)
]
_EndOfEpoch = Annotated[Any, Bound("1.0: a run is validated after whole epochs", lambda v: v in (None, 1.0))]
_Off = Annotated[Any, Bound("false: it gives no result; to try a run use trainer.max_epochs=1 "
                            "+trainer.limit_train_batches=5", lambda value: not value)]  # fmt: skip

SCHEMA: dict[str, Any] = {
    "task": Literal["train", "evaluate", "benchmark", "benchmark_quick"],
    "convert": bool,
    "protocol": Literal["honest", "paper"],
    "channels_last": bool,
    "compile": bool,
    "checkpointing": bool,
    "seed": _Seed,
    "resume": str | None,
    "trust": bool,
    "sweep": _Folder,
    "exclude": list,
    "debug": bool,
    "callbacks": dict,
    "logger": dict,
    "evaluation": dict,
    "data.channels": _Count,
    "data.image_size": _Count | tuple[_Count, _Count],
    "data.num_classes": _Classes,
    "data.batch_size": _Count,
    "data.eval_batch_size": _Count | None,
    "data.validation_fraction": _BelowOne,
    "data.split_seed": _Seed,
    "data.seed": _Seed,
    "data.num_workers": _Index,
    "data.recipe.max_epochs": _Count,
    "data.recipe.lr": _Positive,
    "data.recipe.weight_decay": _NotNegative,
    "sampling.name": str,
    "optimizer.lr": _Positive,
    "optimizer.weight_decay": _NotNegative,
    "optimizer.decay_norm_and_bias": bool,
    "scheduler.interval": Literal["epoch", "step"],
    "scheduler.frequency": _Count,
    "scheduler.monitor": str | None,
    "trainer.max_epochs": _Count,
    "trainer.log_every_n_steps": _Count,
    "trainer.num_nodes": _Count,
    "trainer.devices": _Devices,
    "trainer.strategy": str,
    "trainer.accumulate_grad_batches": _Count,
    "trainer.val_check_interval": _EndOfEpoch,
    "trainer.limit_train_batches": _Positive | None,
    "trainer.limit_val_batches": _Positive | None,
    "trainer.limit_test_batches": _Positive | None,
    "trainer.fast_dev_run": _Off,
    "trainer.overfit_batches": _Off,
    "trainer.barebones": _Off,
    "evaluation.samplings": list[
        Literal["traditional", "naive", "lattice", "three_quarters", "complete", "custom"]
    ],
    "evaluation.borders": list[Literal["zeros", "replicate"]] | None,
    "evaluation.limit": _Count | None,
    "evaluation.device": Literal["auto", "cpu", "cuda"],
    "evaluation.precision": Literal["32-true", "bf16-mixed"],
}
"""What each key expects. Keys without a dot are required; others are checked where a configuration has them, and
so are all arguments of what is built, against its signature (ccnn.config.targets)."""

GROUPS = ("data", "model", "sampling", "loss", "optimizer", "scheduler", "trainer")
"""The groups that are built, each from its `_target_`."""

_ABSENT = object()


def validate(config: DictConfig) -> None:
    """Checks names, types and ranges of a composed configuration, without importing what it builds.

    Keys that the program does not know are the user's own (`+tags=[a,b]`) and are kept as they are.

    Raises:
        UserError: one line for each mistake.
    """
    problems = _augment(config) or _unresolved(config)
    if not problems:
        tree: Any = OmegaConf.to_container(config, resolve=True)
        problems = _nodes(tree) + _values(tree, OmegaConf.to_container(config))
        problems = problems or _exclude(tree)
    if problems:
        raise UserError("\n".join(problems))


def _augment(config: DictConfig) -> list[str]:
    """`data.augment` picks one of `data.augmentations`; OmegaConf's message for a wrong one is less clear."""
    augment = OmegaConf.select(config, "data.augment", throw_on_resolution_failure=False)
    known = OmegaConf.select(config, "data.augmentations", throw_on_resolution_failure=False)
    if not isinstance(known, DictConfig) or augment in known:
        return []
    return [f"data.augment: there is no choice {augment!r}; {choices(str(augment), map(str, known))}"]


def _unresolved(config: DictConfig) -> list[str]:
    """Keys without a value (`???`) and references that lead nowhere."""
    if missing := list(_missing(OmegaConf.to_container(config), "")):
        return [f"{key}: needs a value; add {key}=… to the command line." for key in missing]
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return [f"{error.full_key}: cannot be resolved: {str(error.msg).splitlines()[0]}."]
    return []


def _missing(tree: Any, prefix: str) -> Iterator[str]:
    # OmegaConf.missing_keys follows references, and fails at those that lead nowhere.
    for name, value in tree.items():
        if value == "???":
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            yield from _missing(value, f"{prefix}{name}.")


def _nodes(tree: dict[str, Any]) -> list[str]:
    """Groups, and the members of callbacks and logger, say with a `_target_` what to build."""
    problems = []
    members = [f"{group}.{name}" for group in ("callbacks", "logger") for name in _mapping(tree.get(group))]
    for key in (*GROUPS, *members):
        node = _lookup(tree, key)
        if node is _ABSENT:
            problems.append(f"{key}: is missing from the configuration.")
        elif "_target_" not in _mapping(node) and not (node is None and key in members):
            base = f" A file in conf/{key} begins with `defaults: [NAME, _self_]`." if key in GROUPS else ""
            problems.append(
                f"{key}: expected a mapping with a _target_, which says what to build, got {node!r}.{base}"
            )
    return problems


def _mapping(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else {}


def _values(tree: dict[str, Any], raw: Any) -> list[str]:
    """Compares each key with its type.

    Keys that refer to others (`${…}`) come second: they would repeat the mistakes of those they refer to.
    """
    direct: list[str] = []
    referring: list[str] = []
    for key, annotation in SCHEMA.items():
        value, written = _lookup(tree, key), _lookup(raw, key)
        if value is not _ABSENT:
            problem = mismatch(key, value, annotation)
            (referring if isinstance(written, str) and "${" in written else direct).extend(
                [problem] if problem else []
            )
        elif "." not in key:
            direct.append(f"{key}: is missing from the configuration.")
    return direct or referring


def _lookup(tree: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(tree, dict) or name not in tree:
            return _ABSENT
        tree = tree[name]
    return tree


def _exclude(tree: dict[str, Any]) -> list[str]:
    """Combinations are mappings from groups or keys to values."""
    problems = []
    for place, combination in enumerate(tree["exclude"]):
        if not isinstance(combination, dict) or not combination:
            expected = "expected a combination such as {model: toy, seed: 1}"
            problems.append(f"exclude[{place}]: {expected}, got {combination!r}.")
            continue
        for key in map(str, combination):
            if key != "experiment" and _lookup(tree, key) is _ABSENT:
                problems.append(f"exclude[{place}].{key}: there is no such key; {choices(key, tree)}")
    return problems
