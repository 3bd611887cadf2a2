"""One experiment from its configuration to its metrics: build, train, test, log."""

import gc
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from torch import nn

import ccnn
from ccnn.classifier import LOGGED, Classifier
from ccnn.config import validate
from ccnn.dry_run import InputSize, gist, outputs, skeleton
from ccnn.errors import UserError, choices
from ccnn.result_table import heading, shorter, table
from ccnn.run_folder import begin, write_json
from ccnn.targets import DESCRIPTIVE, validate_targets

_EXPECTED_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    "The '.*_dataloader' does not have many workers",  # batches are cut from memory: workers would only cost
    "The number of training batches .* is smaller than the logging interval",  # small data; epochs are logged
    "Total length of `list` across ranks is zero",  # no validation split, as asked for
    r"It is recommended to use `self.log\('(lr|system/.*)', ..., sync_dist=True\)`",  # equal or local on purpose
    "Experiment logs directory .* exists and is not empty",  # made by Hydra just before
    "Checkpoint directory .* exists and is not empty",  # two callbacks share it
)


def run(config: DictConfig, folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Trains a network, tests it once and leaves everything about it in a folder.

    The test uses the weights of the best validation epoch; those of the last epoch if no validation
    images are split off. Nothing is written before data, network and trainer are known to work.

    Args:
        config: composed from conf/; `output_dir` is filled in here.
        folder: the run's folder.
        overrides: what was typed, for the record.

    Returns:
        What metrics.json holds.

    Raises:
        UserError: the configuration, the data or the combination of both with the network is wrong, the
            training diverged, or the folder holds a run already.
    """
    if config.get("output_dir") is not None:
        raise UserError("output_dir: is filled in by the program; choose the folder with hydra.run.dir=…")
    config = config.copy()
    OmegaConf.update(config, "output_dir", str(folder))
    validate(config)
    validate_targets(config)
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        try:
            return _run(config, folder, overrides)
        finally:
            gc.collect()  # Trainer and LightningModule refer to each other; a sweep would keep all of them


def _run(config: DictConfig, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = _data(config)
    sampling = build(config, "sampling")  # built for a plain network too, so that its mistakes are told
    model = build(config, "model")
    input_size = (config.data.channels, config.data.image_size, config.data.image_size)
    check_network(model, input_size, config)
    cost = {"parameters": ccnn.parameters(model), "plain_multiply_adds": ccnn.multiply_adds(model, input_size)}
    if config.convert:
        _convert(model, input_size, sampling, config)
    cost["multiply_adds"] = ccnn.multiply_adds(model, input_size)
    conversion = str(ccnn.conversion_report(model)) if config.convert else None

    flat = flatten(OmegaConf.to_container(config, resolve=True))
    classifier = Classifier(
        model,
        build(config, "optimizer"),
        build(config, "scheduler"),
        num_classes=config.data.num_classes,
        seed=config.seed,
        hyperparameters=flat,
    )
    trainer = _trainer(config, validates=bool(data.val_dataloader()))
    _try_optimizer(classifier)

    console = Console(quiet=not trainer.is_global_zero)
    if trainer.is_global_zero:
        begin(folder, config, overrides, conversion)
    console.print(heading(model_name(config), config, trainer), highlight=False)
    if conversion:
        console.print(conversion, highlight=False, markup=False)
    elif any(override.startswith("sampling") for override in overrides):
        console.print("sampling has no effect without convert=true.", style="yellow")
    for logger in trainer.loggers:
        logger.log_hyperparams(_shown(flat))
    started = perf_counter()
    trainer.fit(classifier, datamodule=data)
    seconds = perf_counter() - started
    validation = _load_best(classifier, trainer)
    tested = trainer.test(classifier, datamodule=data, verbose=False)[0]

    metrics = {
        "test/error": round(tested["test/error"], 4),
        "test/loss": tested["test/loss"],
        **validation,
        **cost,
        "multiply_adds_ratio": cost["multiply_adds"] / cost["plain_multiply_adds"],
        "epochs": trainer.current_epoch,
        "training_seconds": round(seconds, 2),
        "model": model_name(config),
        "data": str(config.data.get("name", config.data._target_)),
        "convert": config.convert,
        "sampling": config.sampling.name if config.convert else None,
        "seed": config.seed,
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):  # its HPARAMS tab takes parameters and result together
            logger.log_hyperparams(_shown(flat), {"hp/test_error": tested["test/error"]})
            logger.save()
    if trainer.is_global_zero:
        write_json(folder / "metrics.json", metrics)
        console.print(table(metrics))
        console.print(f"Run folder: {shorter(folder)}", soft_wrap=True, highlight=False, markup=False)
    return metrics


def build(config: DictConfig, key: str, **arguments: Any) -> Any:
    """Builds what the config says at `key`.

    Raises:
        UserError: it could not be built; the message of the failure follows the key.
    """
    node = OmegaConf.to_container(config[key], resolve=True)
    assert isinstance(node, dict)
    node = {name: value for name, value in node.items() if name not in DESCRIPTIVE.get(key, ())}
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError) and str(cause).startswith(f"{key}."):
            raise UserError(str(cause)) from error
        raise UserError(f"{key}: {cause or error} (debug=true shows where)") from error


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Turns nested mappings into one with dotted keys and plain values; lists become text.

    >>> flatten({"data": {"mean": [0.5], "name": "digits"}, "seed": 0})
    {'data.mean': '[0.5]', 'data.name': 'digits', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str | int | float | None) else str(value)
    return flat


def model_name(config: DictConfig) -> str:
    """Returns what to call the network: `model.name`, or else the function that builds it."""
    return str(config.model.get("name") or config.model._target_.rpartition(".")[2])


def _data(config: DictConfig) -> pl.LightningDataModule:
    """Builds the data module and has it find its files, before anything else is spent on the run."""
    data: pl.LightningDataModule = build(config, "data")
    data.prepare_data()
    data.setup("fit")
    return data


def _convert(
    model: nn.Module, input_size: tuple[int, int, int], sampling: ccnn.Sampling, config: DictConfig
) -> None:
    try:
        ccnn.convert(model, input_size, sampling)
    except ccnn.ConversionError as error:
        message = f"convert=true: {model_name(config)} cannot be converted: {str(error).removeprefix('convert: ')}"
        if "nothing to convert" in message and not (sampling.only or sampling.skip or sampling.skip_first):
            message += "\nChoose another model, or train it as it is with convert=false."
        raise UserError(message) from error


def check_network(model: nn.Module, input_size: InputSize, config: DictConfig) -> None:
    """Has the network look at images without numbers, so that one that does not fit the data is told at once."""
    images = "×".join(map(str, input_size))
    try:
        scores = outputs(skeleton(model).eval(), input_size)
    except Exception as error:
        raise UserError(
            f"model: {model_name(config)} does not run on the images of data={config.data.name}, {images} pixels: "
            f"{gist(error)}. Choose another model or other data."
        ) from error
    classes = config.data.num_classes
    if [tuple(score.shape[1:]) for score in scores] != [(classes,)]:
        shapes = ", ".join(str(tuple(score.shape[1:])) for score in scores)
        raise UserError(
            f"model: {model_name(config)} yields {shapes} for an image, expected ({classes},), the scores of "
            f"the {classes} classes of data={config.data.name}."
        )


def _trainer(config: DictConfig, validates: bool) -> pl.Trainer:
    for name, node in config.callbacks.items():
        monitor = node.get("monitor") if node else None
        if monitor is not None and monitor not in LOGGED:
            raise UserError(f"callbacks.{name}.monitor: there is no {monitor!r}; {choices(monitor, LOGGED)}")
    callbacks = [
        build(config.callbacks, name)
        for name, node in config.callbacks.items()
        if node and (validates or not str(node.get("monitor")).startswith("val/"))
    ]
    loggers = [build(config.logger, name) for name, node in config.logger.items() if node]
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    trainer: pl.Trainer = build(
        config, "trainer", callbacks=callbacks, logger=loggers or False, enable_checkpointing=saves
    )
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > cores:
        raise UserError(
            f"trainer.devices: expected at most {cores}, this machine's cores, got {trainer.num_devices}."
        )
    return trainer


def _try_optimizer(classifier: Classifier) -> None:
    """Builds optimizer and schedule once for nothing, so that wrong values are told before anything is written."""
    try:
        classifier.configure_optimizers()
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer, scheduler: {error} (debug=true shows where)") from error


def _load_best(classifier: Classifier, trainer: pl.Trainer) -> dict[str, Any]:
    """Takes the weights of the best validation epoch, if there is one; returns its error and epoch."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            checkpoint = torch.load(callback.best_model_path, map_location="cpu", weights_only=True)
            classifier.load_state_dict(checkpoint["state_dict"])
            return {"val/error": checkpoint["val_error"], "best_epoch": checkpoint["epoch"] + 1}
    return {"val/error": None, "best_epoch": None}


_TOLD_APART = ("convert", "data.name", "model.name", "sampling.name", "seed")
_SETTINGS = ("model.", "data.augment", "data.batch_size", "sampling.", "optimizer.", "trainer.max_epochs",
             "trainer.precision")  # fmt: skip
_NOT_SHOWN = ("_target_", "_partial_", "in_channels", "num_classes", "data.augmentation")


def _shown(flat: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters worth a column in TensorBoard's table of runs.

    It sorts them by name and shows the first five unless told otherwise: these are what tells runs apart. Whole
    numbers are texts, or it would write 32.000.
    """
    columns = {
        name.removesuffix(".name") if name in _TOLD_APART else f"settings.{name}": value
        for name, value in flat.items()
        if name in _TOLD_APART or (name.startswith(_SETTINGS) and not any(part in name for part in _NOT_SHOWN))
    }
    if not flat["convert"]:
        columns["sampling"] = "none"
    return {name: str(value) if isinstance(value, int) else value for name, value in columns.items()}
