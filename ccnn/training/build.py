"""Instantiates data and network from a configuration, and checks that they fit together."""

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

import ccnn
from ccnn.config.targets import arguments
from ccnn.errors import UserError
from ccnn.models import checkpoint_stages
from ccnn.multisampling.conversion.meta import InputSize, gist, outputs, skeleton


class Network(NamedTuple):
    """A network that fits the data.

    Attributes:
        model: converted if the configuration says so.
        parameters: trainable ones.
        plain_multiply_adds: for an image, before conversion.
        multiply_adds: for an image.
        report: of the conversion; None for a plain network.
    """

    model: nn.Module
    parameters: int
    plain_multiply_adds: int
    multiply_adds: int
    report: str | None


def build(config: DictConfig, key: str, **extra: Any) -> Any:
    """Builds what the config says at `key`.

    Args:
        config: holds the node at `key`, with the `_target_` to call.
        key: a group, or a member of `config.callbacks` or `config.logger`.
        **extra: further arguments, which replace those of the node.

    Raises:
        UserError: it could not be built; the message begins with the key.
    """
    node: Any = OmegaConf.to_container(config[key], resolve=True)
    try:
        return instantiate(arguments(key, node), _convert_="all", **extra)  # lists, not ListConfigs
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError) and str(cause).startswith(f"{key}."):
            raise UserError(str(cause)) from error
        raise UserError(f"{config._get_full_key(key)}: {cause or error} (debug=true shows where)") from error


def model_name(config: DictConfig) -> str:
    """Returns what to call the network: `model.name`, or else the function that builds it."""
    return str(config.model.get("name") or config.model._target_.rpartition(".")[2])


def build_data(config: DictConfig) -> pl.LightningDataModule:
    """Builds the data module and has it find its files, before anything else is spent on the run.

    Raises:
        UserError: it is no LightningDataModule with loaders to train and to test, or its files are missing.
    """
    data = build(config, "data")
    if not isinstance(data, pl.LightningDataModule):
        raise UserError(f"data: expected a LightningDataModule, got {type(data).__name__}.")
    for hook in ("train_dataloader", "test_dataloader"):
        if not is_overridden(hook, data, pl.LightningDataModule):
            raise UserError(
                f"data: {type(data).__name__} has no {hook}(), which a run needs to train and to test."
            )
    data.prepare_data()
    data.setup("fit")
    return data


def has_validation(data: pl.LightningDataModule) -> bool:
    """Tells whether a data module has validation images."""
    return is_overridden("val_dataloader", data, pl.LightningDataModule) and data.val_dataloader() not in (
        None,
        [],
    )


def build_network(config: DictConfig, size: InputSize, classes: int) -> Network:
    """Builds the network, converted if the configuration says so.

    Args:
        config: the configuration.
        size: (C, H, W) of an image.
        classes: number of classes.

    Raises:
        UserError: it does not fit the data, cannot be converted or has no stages to checkpoint.
    """
    sampling = build(config, "sampling")  # for a plain network, too: it reports mistakes in the group
    model = build(config, "model")
    check_network(model, size, config, classes)
    plain_multiply_adds = ccnn.multiply_adds(model, size)
    if config.convert:
        _convert(model, size, sampling, config)
    if config.checkpointing:
        try:
            checkpoint_stages(model)
        except ValueError as error:
            raise UserError(f"checkpointing=true: {error}.") from error
    cost = ccnn.parameters(model), plain_multiply_adds, ccnn.multiply_adds(model, size)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.compile:
        model.compile()
    return Network(model, *cost, str(ccnn.conversion_report(model)) if config.convert else None)


def _convert(model: nn.Module, size: InputSize, sampling: ccnn.Sampling, config: DictConfig) -> None:
    try:
        ccnn.convert(model, size, sampling)
    except ccnn.ConversionError as error:
        message = f"convert=true: {model_name(config)} cannot be converted: {str(error).removeprefix('convert: ')}"
        if "nothing to convert" in message and not (sampling.only or sampling.skip or sampling.skip_first):
            message += "\nChoose another model, or train it as it is with convert=false."
        raise UserError(message) from error


def check_network(model: nn.Module, size: InputSize, config: DictConfig, classes: int | None = None) -> None:
    """Runs the network on images without numbers, so that one that does not fit the data fails at once.

    Args:
        model: the network.
        size: (C, H, W) of an image.
        config: whose names of network and data the message uses.
        classes: number of classes; None: `data.num_classes`.

    Raises:
        UserError: it does not run, or yields another number of scores than there are classes.
    """
    classes = config.data.num_classes if classes is None else classes
    name, data = model_name(config), config.data.get("name", config.data._target_)
    try:
        scores = outputs(skeleton(model).eval(), size)
    except Exception as error:
        raise UserError(
            f"model: {name} does not run on the images of data={data}, {'×'.join(map(str, size))} pixels: "
            f"{gist(error).rstrip('.!')}. Choose another model or other data."
        ) from error
    shapes = [tuple(score.shape[1:]) for score in scores]
    if shapes != [(classes,)]:
        raise UserError(
            f"model: {name} yields {', '.join(map(str, shapes))} for an image, expected ({classes},), the scores "
            f"of the {classes} classes of data={data}."
        )
