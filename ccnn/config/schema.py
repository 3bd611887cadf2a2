"""What a valid configuration looks like, checked before torch is even imported."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Literal, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
from ccnn.config.annotations import Bound, mismatch
from ccnn.errors import UserError, choices
from ccnn.multisampling.samplers import METHODS


def is_folder_name(value: str) -> bool:
    """Whether a text names a folder in outputs/sweeps, and none elsewhere."""
    return re.fullmatch(r"\w[\w.+-]*", value, re.ASCII) is not None


_Count = Annotated[int, Bound("≥ 1", lambda value: value >= 1)]
_Index = Annotated[int, Bound("≥ 0", lambda value: value >= 0)]
_Seed = Annotated[int, Bound("from 0 to 4294967295", lambda value: 0 <= value < 2**32)]
_Positive = Annotated[float, Bound("> 0", lambda value: value > 0 and isfinite(value))]
_NotNegative = Annotated[float, Bound("≥ 0", lambda value: value >= 0 and isfinite(value))]
_BelowOne = Annotated[float, Bound("in [0, 1)", lambda value: 0 <= value < 1)]
_Folder = Annotated[str, Bound("that is a folder's name: letters, digits, - _ .", is_folder_name)]
_Classes = Annotated[int, Bound("≥ 2", lambda value: value >= 2)]


@dataclass(frozen=True)
class Recipe:
    """How the paper trains on a data set."""

    max_epochs: _Count
    lr: _Positive
    weight_decay: _NotNegative


@dataclass(frozen=True)
class Data:
    """The keys of a data set that the rest of the program relies on."""

    channels: _Count
    image_size: _Count
    num_classes: _Classes
    batch_size: _Count
    eval_batch_size: _Count | None
    validation_fraction: _BelowOne
    split_seed: _Seed
    seed: _Seed
    num_workers: _Index
    recipe: Recipe


@dataclass(frozen=True)
class Sampling:
    """How a converted network samples; the rest is checked against ccnn.Sampling."""

    name: str


@dataclass(frozen=True)
class Optimizer:
    """The keys that every optimizer in conf/ has."""

    lr: _Positive
    weight_decay: _NotNegative


@dataclass(frozen=True)
class Trainer:
    """The arguments of the Trainer with a range."""

    max_epochs: _Count
    log_every_n_steps: _Count
    num_nodes: _Count
    strategy: str


@dataclass(frozen=True)
class Evaluation:
    """What of networks with given weights is scored, and how."""

    samplings: list[str]
    borders: list[Literal["zeros", "replicate"]] | None
    limit: _Count | None
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Config:
    """The whole configuration; groups without a schema here are checked against what they build."""

    data: Data
    model: dict
    sampling: Sampling
    optimizer: Optimizer
    scheduler: dict
    trainer: Trainer
    callbacks: dict
    logger: dict
    evaluation: Evaluation
    task: Literal["train", "evaluate", "benchmark", "benchmark_quick"]
    convert: bool
    protocol: Literal["honest", "paper"]
    channels_last: bool
    compile: bool
    checkpointing: bool
    resume: str | None
    trust: bool
    sweep: _Folder
    exclude: list
    seed: _Seed
    debug: bool
    output_dir: str | None


def validate(config: DictConfig) -> None:
    """Checks names, types and ranges of a composed configuration, without importing what it builds.

    Raises:
        UserError: one line for each mistake found.
    """
    problems = _augmentation(config) or _unresolved(config)
    problems = problems or _not_nodes(config) + _no_targets(config) + _no_result(config) + _devices(config)
    problems = problems or _exclude(config)
    problems = problems or _unknown(config) + _section(config, Config, "", referring=False)
    problems = problems or _section(config, Config, "", referring=True) or _samplings(config)
    if problems:
        raise UserError("\n".join(problems))


def _augmentation(config: DictConfig) -> list[str]:
    """`data.augment` picks one of `data.augmentations`; a wrong one would fail to resolve, less clearly."""
    augment = OmegaConf.select(config, "data.augment", throw_on_resolution_failure=False)
    known = OmegaConf.select(config, "data.augmentations", throw_on_resolution_failure=False)
    if not isinstance(known, DictConfig) or augment in known:
        return []
    return [f"data.augment: there is no choice {augment!r}; {choices(str(augment), map(str, known))}"]


def _unresolved(config: DictConfig) -> list[str]:
    """Keys without a value (`???`) and references that lead nowhere."""
    missing = list(_missing(OmegaConf.to_container(config), ""))
    if missing:
        return [f"{key}: needs a value; add {key}=… to the command line." for key in missing]
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return [f"{error.full_key}: cannot be resolved: {str(error.msg).splitlines()[0]}."]
    return []


def _not_nodes(config: DictConfig) -> list[str]:
    """Each callback and logger is something to build, or null to leave it out."""
    problems = []
    for group in ("callbacks", "logger"):
        nodes = _plain(config[group])
        for name, node in nodes.items() if isinstance(nodes, dict) else ():
            if node is not None and not (isinstance(node, dict) and "_target_" in node):
                problems.append(f"{group}.{name}: expected a mapping with a _target_, or null, got {node!r}.")
    return problems


def _no_targets(config: DictConfig) -> list[str]:
    """Each of the groups that are built says what of."""
    groups = ("data", "model", "sampling", "optimizer", "scheduler", "trainer")
    return [
        f"{group}: has no _target_, which says what to build; a file in conf/{group} begins with that of another, "
        f"as in defaults: [{'_base' if group in ('data', 'sampling') else 'NAME'}, _self_]."
        for group in groups
        if OmegaConf.is_dict(config.get(group)) and "_target_" not in config[group]
    ]


def _no_result(config: DictConfig) -> list[str]:
    """Lightning's switches for debugging, with which a run would end in numbers that are no result."""
    trainer, problems = config.trainer, []
    for key in ("fast_dev_run", "overfit_batches", "barebones"):
        if trainer.get(key):
            problems.append(
                f"trainer.{key}: gives no result; to try a run use "
                "trainer.max_epochs=1 +trainer.limit_train_batches=5."
            )
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if trainer.get(key) == 0:
            problems.append(f"trainer.{key}: expected more than 0, or the run has no result, got 0.")
    if trainer.get("val_check_interval") not in (None, 1.0):
        problems.append(
            "trainer.val_check_interval: expected none, a run is validated at the end of each epoch, got "
            f"{trainer.val_check_interval}."
        )
    accumulated = trainer.get("accumulate_grad_batches")
    if isinstance(accumulated, int) and accumulated < 1:
        problems.append(f"trainer.accumulate_grad_batches: expected an integer ≥ 1, got {accumulated}.")
    return problems


def _devices(config: DictConfig) -> list[str]:
    """Lightning says what is wrong with them, but neither where nor what it got."""
    devices = _plain(config.trainer.get("devices", 1))
    if isinstance(devices, str):
        good = devices == "auto" or all(part.strip().isdigit() for part in devices.split(","))
    elif isinstance(devices, list):
        good = bool(devices) and all(type(device) is int and device >= 0 for device in devices)
    else:
        good = type(devices) is int and (devices >= 1 or devices == -1)
    expected = "expected a number ≥ 1, a list of the devices' numbers, or auto for all there are"
    return [] if good else [f"trainer.devices: {expected}, got {devices!r}."]


def _exclude(config: DictConfig) -> list[str]:
    """Combinations are mappings from groups or keys to values."""
    problems = []
    combinations = _plain(config.get("exclude"))
    for place, combination in enumerate(combinations if isinstance(combinations, list) else ()):
        if not isinstance(combination, dict) or not combination:
            problems.append(
                f"exclude[{place}]: expected a combination such as {{model: toy, seed: 1}}, got {combination!r}."
            )
            continue
        for key in map(str, combination):
            parent, _, name = key.rpartition(".")
            siblings = OmegaConf.select(config, parent) if parent else config
            if key != "experiment" and not (isinstance(siblings, DictConfig) and name in siblings):
                problems.append(f"exclude[{place}].{key}: there is no such key; {choices(key, map(str, config))}")
    return problems


def _samplings(config: DictConfig) -> list[str]:
    """The methods to evaluate, each of which has to say what it does in evaluation."""
    problems = []
    for name in config.evaluation.samplings:
        if name in ("random", "stochastic"):
            problems.append(
                f"evaluation.samplings: {name} draws in training alone and is another method in evaluation; "
                "name that one, such as lattice."
            )
        elif name not in METHODS:
            known = set(METHODS) - {"random", "stochastic"}
            problems.append(f"evaluation.samplings: there is no choice {name!r}; {choices(name, known)}")
        elif name == "custom" and config.sampling.name != "custom":
            problems.append("evaluation.samplings: custom needs sampling=custom, which has its samplers.")
    return problems


def _missing(tree: Any, prefix: str) -> Iterator[str]:
    for name, value in tree.items():
        if value == "???":
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            yield from _missing(value, f"{prefix}{name}.")


def _unknown(config: DictConfig) -> list[str]:
    known = Config.__dataclass_fields__
    return [
        f"{name}: there is no such key; {choices(name, known)}" for name in map(str, config) if name not in known
    ]


def _section(config: DictConfig, schema: type, prefix: str, referring: bool) -> list[str]:
    """Compares one level of the configuration with its schema.

    Keys that refer to others (`${…}`) are for a second look: they repeat the mistakes of those they refer to.
    """
    problems: list[str] = []
    for name, annotation in get_type_hints(schema, include_extras=True).items():
        key = prefix + name
        if name not in config:
            problems.append(f"{key}: is missing from the configuration.")
        elif hasattr(annotation, "__dataclass_fields__"):
            problems += _subsection(config[name], annotation, key, referring)
        elif OmegaConf.is_interpolation(config, name) == referring:
            problems += filter(None, [mismatch(key, _plain(config[name]), annotation)])
    return problems


def _subsection(value: Any, schema: type, key: str, referring: bool) -> list[str]:
    if isinstance(value, DictConfig):
        return _section(value, schema, f"{key}.", referring)
    return [f"{key}: expected a group of keys or one of the choices in conf/{key}, got {value!r}."]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
