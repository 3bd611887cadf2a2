"""Instantiates the trainer with its callbacks and loggers, and checks that it can train in its processes."""

import os
from math import ceil
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from ccnn.data import FolderData, InMemoryData
from ccnn.errors import UserError
from ccnn.runs.checkpoints import AtomicCheckpointIO
from ccnn.training.build import build, has_validation
from ccnn.training.optimizers import check_monitor

_OWN_DATA = (InMemoryData, FolderData)
"""Data modules that give each process its own share of the batches."""


def build_trainer(
    config: DictConfig, data: pl.LightningDataModule, own: Callback, steps: int | None
) -> pl.Trainer:
    """Builds the trainer with its callbacks and loggers.

    Args:
        config: the configuration.
        data: that is trained on; callbacks that monitor validation are left out if it has no validation images.
        own: the program's callback, which stops a run at a signal; left out if nothing is saved.
        steps: optimizer steps at the checkpoint of a resumed run: curves are cut there.

    Raises:
        UserError: a callback monitors something unknown, or there are fewer devices than asked for.
    """
    callbacks = _build_callbacks(config, has_validation(data))
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    loggers = []
    for name, node in config.logger.items():
        if node:  # TensorBoard forgets what was logged after the checkpoint of a resumed run
            purge = steps is not None and node._target_.endswith("TensorBoardLogger")
            loggers.append(build(config.logger, name, **({"purge_step": steps} if purge else {})))
    try:
        trainer: pl.Trainer = build(
            config,
            "trainer",
            callbacks=[*callbacks, own] if saves else callbacks,
            logger=loggers or False,
            enable_checkpointing=saves,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            use_distributed_sampler=config.trainer.get("use_distributed_sampler", not isinstance(data, _OWN_DATA)),
            plugins=[AtomicCheckpointIO()],
        )
    except UserError as error:
        if "No supported gpu backend found" not in str(error):
            raise
        raise UserError(
            "trainer.accelerator: expected a GPU, torch finds none here; leave trainer=gpu out, or take "
            "trainer=cpu."
        ) from error
    data.trainer = trainer  # Lightning does so later; until then own data modules would not know the processes
    return trainer


def _build_callbacks(config: DictConfig, validates: bool) -> list[Callback]:
    last: Any = config.callbacks.get("last_checkpoint") or {}
    for key, expected in (("filename", "last"), ("dirpath", f"{config.output_dir}/checkpoints")):
        if last.get(key, expected) != expected:
            raise UserError(
                f"callbacks.last_checkpoint.{key}: expected {expected}, where resume looks, got {last[key]}."
            )
    callbacks = []
    for name, node in config.callbacks.items():
        monitor = node.get("monitor") if node else None
        check_monitor(f"callbacks.{name}.monitor", monitor)
        if not node or (str(monitor).startswith("val/") and not validates):
            continue
        extra: dict[str, Any] = {}
        if node._target_.endswith(".ModelCheckpoint") and monitor:
            filename = str(node.get("filename"))
            if node.get("save_top_k", 1) not in (0, 1) and "{" not in filename:  # or all would share one file
                extra["filename"] = f"{filename}-{{epoch}}-{{step}}"
            if monitor.startswith("train/"):  # known when the epoch ends, after its validation
                extra["save_on_train_epoch_end"] = True
        callbacks.append(build(config.callbacks, name, **extra))
    return callbacks


def count_steps(trainer: pl.Trainer, data: pl.LightningDataModule) -> int:
    """Counts the optimizer steps of the whole training.

    `trainer.estimated_stepping_batches` would build the loader that is trained from, before a resumed run knows
    where in the epoch it begins.
    """
    batches = len(data.train_dataloader())
    if not isinstance(data, _OWN_DATA):  # Lightning shares them out later
        batches = ceil(batches / trainer.world_size)
    limit = trainer.limit_train_batches  # a number of batches, or a part of the epoch
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
    return steps if trainer.max_steps < 0 else min(steps, trainer.max_steps)


def check_processes(
    trainer: pl.Trainer, config: DictConfig, data: pl.LightningDataModule, sweep: bool, before: int | None
) -> None:
    """Raises for ways to train in several processes that do not work.

    Args:
        trainer: of the run.
        config: the configuration.
        data: that is trained on.
        sweep: whether the run is one of a sweep.
        before: the processes that trained the checkpoint of a resumed run; None: unknown, or no checkpoint.

    Raises:
        UserError: they are more than the cores; there are fewer images than they need; they would be copies of
            this one, whose results Lightning brings back in parts; they would each run the sweep that this run
            belongs to, since Lightning starts them with the same command; or there were more or fewer of them.
    """
    processes, strategy, cores = trainer.world_size, trainer.strategy, os.cpu_count() or 1
    on_cpu = strategy.root_device.type == "cpu"
    if on_cpu and trainer.num_devices > cores:
        raise UserError(
            f"trainer.devices: expected at most {cores}, this machine's cores, got {trainer.num_devices}."
        )
    if before not in (None, processes):
        nodes = trainer.num_nodes if before % trainer.num_nodes == 0 else 1
        raise UserError(
            f"{config.output_dir}: was trained by {'1 process' if before == 1 else f'{before} processes'}, now "
            f"{processes}; resume with trainer.devices={before // nodes}"
            f"{' trainer.num_nodes=1' if nodes != trainer.num_nodes else ''}"
        )
    if isinstance(data, _OWN_DATA):
        data.check_batch_size(processes)
    if isinstance(strategy.launcher, _MultiProcessingLauncher):  # private, but what Lightning's strategies share
        raise UserError(
            f"trainer.strategy: {config.trainer.get('strategy')} cannot be resumed and loses results; expected "
            "ddp, which starts each process with a command of its own."
        )
    if config.trainer.get("sync_batchnorm") and on_cpu:
        raise UserError(
            "trainer.sync_batchnorm: expected false, since torch's SyncBatchNorm needs GPUs, got true."
        )
    if sweep and processes > 1:
        raise UserError(
            f"trainer.devices, trainer.num_nodes: a sweep runs on one device at a time, got {processes} "
            "processes. Type one command for each combination instead, as in: for seed in 0 1 2; do python "
            "train.py seed=$seed trainer.devices=2 trainer.strategy=ddp; done"
        )
