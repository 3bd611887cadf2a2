"""One experiment from its configuration to its metrics: build, train, test, log."""

import gc
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from torch import nn

import ccnn
from ccnn.config import validate
from ccnn.config.hyperparameters import flatten, shown
from ccnn.config.targets import validate_targets
from ccnn.errors import UserError
from ccnn.files import shorter, write_json
from ccnn.runs.allowed_targets import needs_trust
from ccnn.runs.checkpoints import read_checkpoint, remove_damaged
from ccnn.runs.csv_log import go_on
from ccnn.runs.folder import begin, clear, other_environment
from ccnn.runs.resuming import Start, find_start
from ccnn.runs.signals import Interrupted, Interruption
from ccnn.runs.status import FAILED, FINISHED, INTERRUPTED, heartbeat, write_status
from ccnn.training.build import (
    build,
    build_data,
    build_network,
    build_trainer,
    check_processes,
    model_name,
    try_optimizer,
)
from ccnn.training.classifier import Classifier
from ccnn.training.result_table import heading, table

_EXPECTED_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    "The '.*_dataloader' does not have many workers",  # batches are cut from memory: workers would only cost
    "The number of training batches .* is smaller than the logging interval",  # small data; epochs are logged
    "Total length of `list` across ranks is zero",  # no validation split, as asked for
    r"It is recommended to use `self.log\('(lr|train/.*|system/.*)', ..., sync_dist=True\)`",  # equal, local
    "The `srun` command is available on your system but is not used",  # a machine of a cluster, no job of it
    "Experiment logs directory .* exists and is not empty",  # made by Hydra just before, or the run goes on
    "Checkpoint directory .* exists and is not empty",  # two callbacks share it
)


def run(config: DictConfig, folder: Path, overrides: Sequence[str] = (), sweep: bool = False) -> dict[str, Any]:
    """Trains a network, tests it once and leaves everything about it in a folder.

    The test uses the weights of the best validation epoch; those of the last epoch if no validation
    images are split off. Nothing is written before data, network and trainer are known to work.

    Args:
        config: composed from conf/; `output_dir` is filled in here.
        folder: the run's folder.
        overrides: what was typed, for the record.
        sweep: the run is one of a sweep: what is finished is skipped, what was interrupted goes on.

    Returns:
        What metrics.json holds.

    Raises:
        UserError: the configuration, the data or the combination of both with the network is wrong, the
            training diverged, or the folder holds a run already.
        Interrupted: a signal stopped it.
    """
    if config.get("output_dir") is not None:
        raise UserError("output_dir: is filled in by the program; choose the folder with hydra.run.dir=…")
    validate(config)
    config = config.copy()
    OmegaConf.update(config, "output_dir", str(folder))
    start = find_start(config, folder, overrides, sweep)
    try:
        return _carry_out(start, overrides, sweep)
    finally:
        start.lock.release()
        gc.collect()  # Trainer and LightningModule refer to each other; a sweep would keep all of them


def _carry_out(start: Start, overrides: Sequence[str], sweep: bool) -> dict[str, Any]:
    if start.said:
        Console().print(start.said, highlight=False, markup=False, soft_wrap=True)
    if start.metrics is not None:
        return start.metrics.to_dict()
    OmegaConf.update(start.config, "output_dir", str(start.folder))
    validate(start.config)
    validate_targets(start.config)
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        warnings.filterwarnings("error", "The dirpath has changed from")  # Lightning would forget the best epoch
        return _run(start, overrides, sweep)


def _run(start: Start, overrides: Sequence[str], sweep: bool) -> dict[str, Any]:
    config, folder = start.config, start.folder
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config)
    model, cost, conversion = build_network(config)
    flat = flatten(OmegaConf.to_container(config, resolve=True))
    classifier = Classifier(
        model,
        build(config, "optimizer"),
        build(config, "scheduler"),
        num_classes=config.data.num_classes,
        seed=config.seed,
        hyperparameters=flat,
        channels_last=config.channels_last,
    )
    progress = _progress(classifier, start.checkpoint)
    interruption = Interruption(folder)
    trainer = build_trainer(config, interruption, bool(data.val_dataloader()), progress.steps)
    check_processes(trainer, config, data, sweep, progress.processes)
    try_optimizer(classifier)

    console = Console(quiet=not trainer.is_global_zero)
    if trainer.is_global_zero:
        start.occupy()
    try:
        if trainer.is_global_zero:
            _begin(start, overrides, conversion)
            go_on(trainer.loggers, progress.curves)
        console.print(heading(model_name(config), config, trainer), highlight=False, soft_wrap=True)
        if conversion:
            console.print(conversion, highlight=False, markup=False)
        elif any(override.startswith("sampling") for override in overrides):
            console.print("sampling has no effect without convert=true.", style="yellow")
        if start.checkpoint is None:
            for logger in trainer.loggers:
                logger.log_hyperparams(shown(flat))
        with interruption(), heartbeat(folder) if trainer.is_global_zero else nullcontext():
            metrics = _train_and_test(classifier, trainer, data, start.checkpoint)
        metrics |= _description(config, model, cost, data)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):  # its HPARAMS tab takes parameters and result together
                result = {"hp/test_error": metrics["test/error"]}
                logger.log_hyperparams(shown(flat), result, step=trainer.global_step)  # cut, if a run goes on
                logger.save()
        if trainer.is_global_zero:
            write_json(folder / "metrics.json", metrics)
            write_status(folder, FINISHED)
    except BaseException as error:
        if isinstance(error, Interrupted):
            _explain(error, trainer, folder, config, sweep)
        if trainer.is_global_zero and not (folder / "metrics.json").exists():
            _note(folder, error)
        raise
    console.print(table(metrics))
    console.print(f"Run folder: {shorter(folder)}", soft_wrap=True, highlight=False, markup=False)
    return metrics


def _begin(start: Start, overrides: Sequence[str], conversion: str | None) -> None:
    """Has the folder hold what the run begins with."""
    if start.checkpoint is None:
        clear(start.folder)
    else:
        remove_damaged(start.checkpoint)
        if differing := other_environment(start.folder):
            Console().print(differing, highlight=False, markup=False, soft_wrap=True)
    begin(start.folder, start.config, overrides, conversion)
    _children_log_to(start.folder)


def _explain(stopped: Interrupted, trainer: pl.Trainer, folder: Path, config: DictConfig, sweep: bool) -> None:
    """Gives the message of an interruption what there is to do; of several processes the first says it."""
    how = "Nothing was saved yet."
    if stopped.saved:
        trust = " trust=true" if needs_trust(OmegaConf.to_container(config, resolve=True)) else ""
        command = "the same command again" if sweep else f"python train.py resume={shorter(folder)}{trust}"
        how = f"To go on: {command}"
    where = f"Interrupted in epoch {trainer.current_epoch + 1}, step {trainer.global_step}."
    stopped.message = " ".join(filter(None, [where, stopped.lost, how])) if trainer.is_global_zero else ""


def _children_log_to(folder: Path) -> None:
    """Has the processes that a strategy starts take this folder for Hydra's, which Lightning hands to them."""
    if HydraConfig.initialized():
        hydra: Any = HydraConfig.get()
        with read_write(hydra):
            hydra.run.dir = str(folder)


def _train_and_test(
    classifier: Classifier, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: Path | None
) -> dict[str, Any]:
    classifier.started = perf_counter()
    trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint)
    seconds = classifier.training_seconds()
    validation = _load_best(classifier, trainer)
    tested = trainer.test(classifier, datamodule=data, verbose=False)[0]
    if not isfinite(tested["test/loss"]):
        raise UserError(
            f"The test loss is {tested['test/loss']}: the training diverged. Lower the learning rate "
            "(optimizer.lr=…), or try trainer.precision=32-true."
        )
    return {
        "test/error": round(tested["test/error"], 4),
        "test/loss": tested["test/loss"],
        **validation,
        "epochs": trainer.current_epoch,
        "training_seconds": round(seconds, 2),
    }


def _description(config: DictConfig, model: nn.Module, cost: dict[str, int], data: Any) -> dict[str, Any]:
    """What a table of runs needs to know of this one."""
    return {
        **cost,
        "multiply_adds_ratio": cost["multiply_adds"] / cost["plain_multiply_adds"],
        "model": model_name(config),
        "data": str(config.data.get("name", config.data._target_)),
        "augment": config.data.get("augment"),
        "convert": config.convert,
        "sampling": str(ccnn.conversion_report(model).sampling) if config.convert else None,
        "seed": config.seed,
        "protocol": config.protocol,
        "train_images": len(data.train_set.labels),
        "batch_size": config.data.batch_size,
    }


class _Progress(NamedTuple):
    """How far a checkpoint is: optimizer steps, the text of its curves, the processes that trained it."""

    steps: int | None = None
    curves: str = ""
    processes: int | None = None


def _progress(classifier: Classifier, path: Path | None) -> _Progress:
    """How far the checkpoint to go on from is, once it is known to be of this network."""
    if path is None:
        return _Progress()
    checkpoint = read_checkpoint(path)
    own = {name: tuple(value.shape) for name, value in classifier.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    for name in sorted(own.keys() | theirs.keys()):
        if own.get(name) != theirs.get(name):
            raise UserError(
                f"{path}: is of another network: {name} has the shape {theirs.get(name)} there, here "
                f"{own.get(name)}."
            )
    return _Progress(checkpoint["global_step"], checkpoint.get("metrics_csv", ""), checkpoint.get("processes"))


def _note(folder: Path, error: BaseException) -> None:
    """Writes down how a run ended that did not finish, if it began."""
    if not (folder / "config.yaml").exists():
        return
    stopped = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
    try:
        lines = str(error).strip().splitlines()
        message = None if stopped else f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
        message = lines[-1] if isinstance(error, UserError) and lines else message
        write_status(folder, INTERRUPTED if stopped else FAILED, message)
    except OSError:
        pass  # a full disk, most likely: what is told to the user is the first error


def _load_best(classifier: Classifier, trainer: pl.Trainer) -> dict[str, Any]:
    """Takes the weights of the best validation epoch, if there is one; returns its error and epoch."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            checkpoint = read_checkpoint(Path(callback.best_model_path))
            classifier.load_state_dict(checkpoint["state_dict"])
            return {"val/error": checkpoint["val_error"], "best_epoch": checkpoint["epoch"] + 1}
    return {"val/error": None, "best_epoch": None}
