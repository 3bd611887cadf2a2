"""Reads from a run's files, already parsed, what was run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccnn.multisampling.samplers import Sampling
from ccnn.report.networks import full_name
from ccnn.report.paper import Column
from ccnn.report.runs import Condition, Mapped, Run, finite


class NotARunError(ValueError):
    """Why a folder cannot be taken for a run."""


def build(
    folder: Path,
    metrics: Mapped | None,
    config: Mapped | None,
    status: Mapped,
    environment: Mapped,
    started: float,
) -> Run:
    """Puts a run together from what its files hold, already parsed.

    What was run is taken from metrics.json, and from config.yaml where that says nothing, as for every run
    that did not finish.

    Raises:
        NotARunError: the files are not those of a run, or do not say what was run.
    """
    if metrics is None and config is None:
        raise NotARunError("neither metrics.json nor config.yaml says what was run")
    if metrics is not None and not finite(metrics.get("test/error")):
        raise NotARunError(f"metrics.json: expected a number for test/error, got {metrics.get('test/error')!r}")
    said, settings = metrics or {}, config or {}
    model, data, trainer = (_mapping(settings, key) for key in ("model", "data", "trainer"))
    convert = _first(said.get("convert"), settings.get("convert"))
    name = _first(said.get("model"), model.get("name"), _last(model.get("_target_")))
    column = _first(said.get("data"), data.get("name"), _last(data.get("_target_")))
    seed = _first(said.get("seed"), settings.get("seed"))
    condition = {
        "protocol": _first(said.get("protocol"), settings.get("protocol")),
        "epochs": _first(said.get("epochs"), trainer.get("max_epochs")),
        "train_images": said.get("train_images"),
        "batch_size": _first(said.get("batch_size"), data.get("batch_size")),
    }
    where = "config.yaml" if metrics is None else "metrics.json"
    values = {"model": name, "data": column, "convert": convert, "seed": seed, **condition}
    for key, value in values.items():
        if not (isinstance(value, _KINDS[key]) or (value is None and key in condition)):
            raise NotARunError(f"{where}: expected {_KINDS[key].__name__} for {key}, got {value!r}")
    state = "finished" if metrics else str(status.get("state", "unfinished"))
    return Run(
        folder=folder,
        state="unfinished" if state == "finished" and not metrics else state,
        problem=" ".join(str(status["error"]).split()) if status.get("error") else None,
        model=full_name(name, model),
        column=Column(column, str(_first(said.get("augment"), data.get("augment"), "not recorded"))),
        sampling=_sampling(said, settings) if convert else None,
        seed=seed,
        condition=Condition(**condition),
        settings=None if config is None else {k: v for k, v in flatten(config) if not k.startswith(_IRRELEVANT)},
        metrics=said,
        environment=environment,
        started=started,
    )


_KINDS: dict[str, type] = {
    "model": str, "data": str, "convert": bool, "seed": int,
    "protocol": str, "epochs": int, "train_images": int, "batch_size": int,
}  # fmt: skip

_IRRELEVANT = (
    *(
        "seed",
        "debug",
        "output_dir",
        "experiment",
        "hydra",
        "callbacks.",
        "logger.",
        "evaluation.",
    ),  # not part of the training
    *("convert", "sampling", "protocol", "data.batch_size", "data.train_images"),  # what tables tell apart anyway
    *("trainer.max_epochs", "scheduler.max_epochs"),
    *("data.augmentations.", "data.recipe.", "data.validation_fraction"),
    *("resume", "sweep", "exclude", "checkpointing", "channels_last", "compile", "trainer.strategy"),
    *("data.protocol", "data.root", "data.download", "data.num_workers", "data.seed", "data.eval_batch_size"),
    *("trainer.default_root_dir", "trainer.accelerator", "trainer.enable", "trainer.log_every"),
    *("trainer.num_sanity", "trainer.use_distributed_sampler", "trainer.deterministic", "model.checkpointing"),
)
"""How the keys of a config begin that cannot make two runs of one cell incomparable."""


def flatten(tree: Mapped, prefix: str = "") -> list[tuple[str, Any]]:
    """Lists a config's dotted keys and their values; values of lists become text.

    >>> flatten({"optimizer": {"lr": 0.1}, "seed": 0})
    [('optimizer.lr', 0.1), ('seed', 0)]
    """
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", str(value) if isinstance(value, list) else value))
    return pairs


def _sampling(metrics: Mapped, config: Mapped) -> str:
    """The sampling as ccnn.Sampling writes it, so that a run that failed has the text of one that finished."""
    settings = {key: value for key, value in _mapping(config, "sampling").items() if key != "_target_"}
    try:
        if settings:
            return str(Sampling(**settings))
    except (TypeError, ValueError):
        pass  # of another version of ccnn
    return str(_first(metrics.get("sampling"), settings.get("name"), "not recorded"))


def _mapping(tree: Mapped, key: str) -> Mapped:
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _last(target: object) -> str | None:
    return target.rpartition(".")[2] if isinstance(target, str) else None
