"""Builds what a configuration says: data, network, trainer; whatever does not fit together is told here."""

import os
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from torch import nn

import ccnn
from ccnn.config.targets import DESCRIPTIVE
from ccnn.data import InMemoryData
from ccnn.errors import UserError, choices
from ccnn.models import checkpoint_stages
from ccnn.multisampling.conversion.meta import InputSize, gist, outputs, skeleton
from ccnn.runs.checkpoints import AtomicCheckpointIO
from ccnn.runs.signals import Interruption
from ccnn.training.callbacks import CompileTime
from ccnn.training.classifier import LOGGED, Classifier


def build(config: DictConfig, key: str, **arguments: Any) -> Any:
    """Builds what the config says at `key`.

    Raises:
        UserError: it could not be built; the message of the failure follows the key.
    """
    node = OmegaConf.to_container(config[key], resolve=True)
    assert isinstance(node, dict)
    node = {name: value for name, value in node.items() if name not in DESCRIPTIVE.get(key, ())}
    try:
        return instantiate(node, _convert_="all", **arguments)  # lists, not ListConfigs
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError) and str(cause).startswith(f"{key}."):
            raise UserError(str(cause)) from error
        where = config._get_full_key(key)
        raise UserError(f"{where}: {cause or error} (debug=true shows where)") from error


def model_name(config: DictConfig) -> str:
    """Returns what to call the network: `model.name`, or else the function that builds it."""
    return str(config.model.get("name") or config.model._target_.rpartition(".")[2])


def input_size(config: DictConfig) -> InputSize:
    """(C, H, W) of the data set's images."""
    return config.data.channels, config.data.image_size, config.data.image_size


def build_data(config: DictConfig) -> pl.LightningDataModule:
    """Builds the data module and has it find its files, before anything else is spent on the run."""
    data: pl.LightningDataModule = build(config, "data")
    data.prepare_data()
    data.setup("fit")
    return data


def build_network(config: DictConfig) -> tuple[nn.Module, dict[str, int], str | None]:
    """Builds the network, converted if the configuration says so.

    Returns:
        The network; its parameters, and the multiply-adds for an image, plain and as it is; the report of the
        conversion.

    Raises:
        UserError: the network does not fit the data, cannot be converted or has no stages to checkpoint.
    """
    sampling = build(config, "sampling")  # built for a plain network too, so that its mistakes are told
    model = build(config, "model")
    size = input_size(config)
    check_network(model, size, config)
    cost = {"parameters": ccnn.parameters(model), "plain_multiply_adds": ccnn.multiply_adds(model, size)}
    if config.convert:
        _convert(model, size, sampling, config)
    cost["multiply_adds"] = ccnn.multiply_adds(model, size)
    report = str(ccnn.conversion_report(model)) if config.convert else None
    if config.checkpointing:
        try:
            checkpoint_stages(model)
        except ValueError as error:
            raise UserError(f"checkpointing=true: {error}.") from error
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.compile:
        model.compile()
    return model, cost, report


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
            f"{gist(error).rstrip('.!')}. Choose another model or other data."
        ) from error
    classes = config.data.num_classes
    if [tuple(score.shape[1:]) for score in scores] != [(classes,)]:
        shapes = ", ".join(str(tuple(score.shape[1:])) for score in scores)
        raise UserError(
            f"model: {model_name(config)} yields {shapes} for an image, expected ({classes},), the scores of "
            f"the {classes} classes of data={config.data.name}."
        )


def build_trainer(
    config: DictConfig, interruption: Interruption, validates: bool, steps: int | None
) -> pl.Trainer:
    """Builds the trainer with its callbacks and loggers.

    Args:
        config: the configuration.
        interruption: takes the signals.
        validates: whether there are validation images; without, what monitors them is left out.
        steps: optimizer steps done, where a run goes on: curves are cut there.

    Raises:
        UserError: a callback monitors something unknown, or there are fewer devices than asked for.
    """
    for name, node in config.callbacks.items():
        monitor = node.get("monitor") if node else None
        if monitor is not None and monitor not in LOGGED:
            raise UserError(f"callbacks.{name}.monitor: there is no {monitor!r}; {choices(monitor, LOGGED)}")
    last: Any = config.callbacks.get("last_checkpoint") or {}
    for key, expected in (("filename", "last"), ("dirpath", f"{config.output_dir}/checkpoints")):
        if last.get(key, expected) != expected:
            raise UserError(
                f"callbacks.last_checkpoint.{key}: expected {expected}, where resume looks, got {last[key]}."
            )
    callbacks = [
        build(config.callbacks, name)
        for name, node in config.callbacks.items()
        if node and (validates or not str(node.get("monitor")).startswith("val/"))
    ]
    callbacks += [CompileTime()] if config.compile else []
    loggers = [build(config.logger, name, **_purge(node, steps)) for name, node in config.logger.items() if node]
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    try:
        trainer: pl.Trainer = build(
            config,
            "trainer",
            callbacks=[*callbacks, interruption] if saves else callbacks,
            logger=loggers or False,
            enable_checkpointing=saves,
            plugins=[AtomicCheckpointIO()],
        )
    except UserError as error:
        if "No supported gpu backend found" not in str(error):
            raise
        raise UserError(
            "trainer.accelerator: expected a GPU, torch finds none here; leave trainer=gpu out, or take "
            "trainer=cpu."
        ) from error
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > cores:
        raise UserError(
            f"trainer.devices: expected at most {cores}, this machine's cores, got {trainer.num_devices}."
        )
    return trainer


def check_processes(
    trainer: pl.Trainer, config: DictConfig, data: pl.LightningDataModule, sweep: bool, before: int | None
) -> None:
    """Refuses ways to train in several processes that do not work.

    Args:
        trainer: of the run.
        config: the configuration.
        data: that is trained on.
        sweep: whether the run is one of a sweep.
        before: the processes that have trained so far, which have shared an epoch out; None: unknown, or none.

    Raises:
        UserError: there are fewer images than they need; they would be copies of this one, whose results
            Lightning brings back in parts; they would each run the sweep that this run belongs to, since
            Lightning starts them with the same command; or there were more or fewer of them.
    """
    if before not in (None, trainer.world_size):
        nodes = trainer.num_nodes if before % trainer.num_nodes == 0 else 1
        processes = "1 process" if before == 1 else f"{before} processes"
        raise UserError(
            f"{config.output_dir}: was trained by {processes}, now {trainer.world_size}; resume with "
            f"trainer.devices={before // nodes}{' trainer.num_nodes=1' if nodes != trainer.num_nodes else ''}"
        )
    if isinstance(data, InMemoryData):
        data.check_batch_size(trainer.world_size)
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise UserError(
            f"trainer.strategy: {config.trainer.get('strategy')} cannot be resumed and loses results; expected "
            "ddp, which starts each process with a command of its own."
        )
    if config.trainer.get("sync_batchnorm") and trainer.strategy.root_device.type == "cpu":
        raise UserError(
            "trainer.sync_batchnorm: expected false, since torch's SyncBatchNorm needs GPUs, got true."
        )
    if sweep and trainer.world_size > 1:
        raise UserError(
            f"trainer.devices, trainer.num_nodes: a sweep runs on one device at a time, got {trainer.world_size} "
            "processes. Type one command for each combination instead, as in: for seed in 0 1 2; do python "
            "train.py seed=$seed trainer.devices=2 trainer.strategy=ddp; done"
        )


def _purge(node: DictConfig, steps: int | None) -> dict[str, Any]:
    """Makes TensorBoard forget what was logged after the checkpoint that a run goes on from."""
    return {} if steps is None or not node._target_.endswith("TensorBoardLogger") else {"purge_step": steps}


def try_optimizer(classifier: Classifier) -> None:
    """Builds optimizer and schedule once for nothing, so that wrong values are told before anything is written."""
    try:
        classifier.configure_optimizers()
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer, scheduler: {error} (debug=true shows where)") from error
