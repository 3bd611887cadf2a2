"""One experiment from its configuration to its record: build, convert, fit, test, record."""

import gc
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, StochasticWeightAveraging
from rich.console import Console

import ccnn
from ccnn.config import validate
from ccnn.config.hyperparameters import flatten, shown
from ccnn.config.targets import validate_targets
from ccnn.data import DataShape, shape_of
from ccnn.errors import UserError
from ccnn.files import shorter
from ccnn.runs.checkpoints import read_checkpoint
from ccnn.runs.csv_log import go_on
from ccnn.runs.record import RunRecord
from ccnn.runs.resuming import Start, find_start
from ccnn.runs.signals import Interruption
from ccnn.runs.status import FINISHED, heartbeat, write_status
from ccnn.training.build import Network, build, build_data, build_network, has_validation, model_name
from ccnn.training.classifier import Classifier
from ccnn.training.console import heading, plain_console, result_table
from ccnn.training.optimizers import build_optimizers
from ccnn.training.recording import log_result, recorded
from ccnn.training.trainer import build_trainer, check_processes, count_steps

_EXPECTED_WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    "The '.*_dataloader' does not have many workers",  # batches are cut from memory: workers would only cost
    "The number of training batches .* is smaller than the logging interval",  # small data; epochs are logged
    "Total length of `list` across ranks is zero",  # no validation split, as asked for
    r"It is recommended to use `self.log\('(lr|train/.*|system/.*)', ..., sync_dist=True\)`",  # equal, local
    "The `srun` command is available on your system but is not used",  # a machine of a cluster, no job of it
    r"The \.grad attribute of a Tensor that is not a leaf",  # torch.compile's own, between two draws of samplers
    "Experiment logs directory .* exists and is not empty",  # made by Hydra just before, or the run is resumed
    "Checkpoint directory .* exists and is not empty",  # two callbacks share it
)


def run(config: DictConfig, folder: Path, overrides: Sequence[str] = (), sweep: bool = False) -> dict[str, Any]:
    """Trains a network, tests it once and leaves everything about it in a folder.

    The test uses the weights that the first callback with a monitor chose, by default those of the best validation
    epoch; without such a callback or without validation images those at the end. Nothing is written before data,
    network and trainer are known to work.

    Args:
        config: composed from conf/, and validated (`ccnn.config.validate`); `output_dir` is filled in here.
        folder: the run's folder.
        overrides: what was typed, for the record.
        sweep: the run is one of a sweep: a finished one is skipped, an interrupted one resumed.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: data, targets or their combination are wrong, the training diverged, or the folder holds a run
            already.
        Interrupted: a signal stopped it.
    """
    if config.get("output_dir") is not None:
        raise UserError("output_dir: is filled in by the program; choose the folder with hydra.run.dir=…")
    config = config.copy()
    OmegaConf.update(config, "output_dir", str(folder))
    start = find_start(config, folder, overrides, sweep)
    try:
        if start.message:
            plain_console().print(start.message)
        if start.metrics is not None:
            return start.metrics.to_dict()
        if start.config is not config:  # it comes from the folder of the run that is resumed
            OmegaConf.update(start.config, "output_dir", str(start.folder))
            validate(start.config)
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            warnings.filterwarnings(
                "error", "The dirpath has changed from"
            )  # Lightning would forget the best epoch
            return _run(start, overrides, sweep).to_dict()
    finally:
        start.lock.release()
        gc.collect()  # Trainer and LightningModule refer to each other; a sweep would keep all of them


def _run(start: Start, overrides: Sequence[str], sweep: bool) -> RunRecord:
    config, folder = start.config, start.folder
    validate_targets(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)

    data = build_data(config)
    shape = shape_of(data, config.data)
    network = build_network(config, shape.input_size, shape.num_classes)
    progress = _progress(network, start.checkpoint)
    interruption = Interruption(folder)
    trainer = build_trainer(config, data, interruption, progress.steps)
    check_processes(trainer, config, data, sweep, progress.processes)
    hyperparameters = flatten(OmegaConf.to_container(config, resolve=True))
    classifier = Classifier(
        network.model,
        build_optimizers(config, has_validation(data), partial(count_steps, trainer, data)),
        num_classes=shape.num_classes,
        seed=config.seed,
        hyperparameters=hyperparameters,
        loss=build(config, "loss"),
        mix=build(config, "mix") if "mix" in config else None,
        channels_last=config.channels_last,
    )
    classifier.configure_optimizers()  # for its mistakes, before anything is written

    console = plain_console(quiet=not trainer.is_global_zero)
    with recorded(start, trainer, overrides, network.report, sweep):
        if trainer.is_global_zero:
            go_on(trainer.loggers, progress.curves)
        console.print(heading(model_name(config), config, trainer), markup=True)
        if network.report:
            console.print(network.report)
        elif any(override.startswith("sampling") for override in overrides):
            console.print("sampling has no effect without convert=true.", style="yellow")
        for logger in trainer.loggers if start.checkpoint is None else ():
            logger.log_hyperparams(shown(hyperparameters))

        with interruption(), heartbeat(folder) if trainer.is_global_zero else nullcontext():
            classifier.started = perf_counter()
            trainer.fit(classifier, datamodule=data, ckpt_path=start.checkpoint)
            seconds = classifier.training_seconds()
            chosen = _choose_weights(classifier, trainer)
            tested = trainer.test(classifier, datamodule=data, verbose=False)[0]
        record = _record(config, network, shape, classifier, seconds, chosen, tested)
        log_result(trainer, shown(hyperparameters), record.test_error)
        if trainer.is_global_zero:
            record.write(folder)
            write_status(folder, FINISHED)
    Console(quiet=console.quiet).print(result_table(record))
    console.print(f"Run folder: {shorter(folder)}")
    return record


class _Progress(NamedTuple):
    """How far a checkpoint is: optimizer steps, the text of its curves, the processes that trained it."""

    steps: int | None = None
    curves: str = ""
    processes: int | None = None


def _progress(network: Network, path: Path | None) -> _Progress:
    """Reads how far the checkpoint to resume from is, and checks that it is of this network."""
    if path is None:
        return _Progress()
    checkpoint = read_checkpoint(path)
    own = {f"model.{name}": tuple(value.shape) for name, value in network.model.state_dict().items()}
    saved = {
        name: tuple(value.shape) for name, value in checkpoint["state_dict"].items() if name.startswith("model.")
    }
    for name in sorted(own.keys() | saved.keys()):
        if own.get(name) != saved.get(name):
            raise UserError(
                f"{path}: is of another network: {name} has the shape {saved.get(name)} there, here "
                f"{own.get(name)}."
            )
    return _Progress(checkpoint["global_step"], checkpoint.get("metrics_csv", ""), checkpoint.get("processes"))


class _Chosen(NamedTuple):
    """Which weights are tested: of which epoch, with which validation error, chosen by what, from which file."""

    epoch: int | None = None
    val_error: float | None = None
    by: str | None = None
    checkpoint: str | None = None


def _choose_weights(classifier: Classifier, trainer: Any) -> _Chosen:
    """Loads the weights that the first checkpoint callback with a monitor found best; else keeps the last."""
    if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):
        return _Chosen()  # it has just replaced the last weights by its average, which no checkpoint has
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            path = Path(callback.best_model_path)
            checkpoint = read_checkpoint(path)
            classifier.load_state_dict(checkpoint["state_dict"])
            by = f"{'lowest' if callback.mode == 'min' else 'highest'} {callback.monitor}"
            return _Chosen(checkpoint["epoch"] + 1, checkpoint["val_error"], by, path.name)
    return _Chosen()


def _record(
    config: DictConfig,
    network: Network,
    shape: DataShape,
    classifier: Classifier,
    seconds: float,
    chosen: _Chosen,
    tested: Any,
) -> RunRecord:
    """Collects the result, and what a table of runs needs to know about this one.

    Raises:
        UserError: the test loss is not finite.
    """
    if not isfinite(tested["test/loss"]):
        raise UserError(
            f"The test loss is {tested['test/loss']}: the training diverged. Lower the learning rate "
            "(optimizer.lr=…), or try trainer.precision=32-true."
        )
    return RunRecord(
        test_error=round(tested["test/error"], 4),
        test_loss=tested["test/loss"],
        val_error=chosen.val_error,
        best_epoch=chosen.epoch,
        chosen_by=chosen.by,
        checkpoint=chosen.checkpoint,
        epochs=classifier.trainer.current_epoch,
        training_seconds=round(seconds, 2),
        images_seen=classifier.images_seen,
        parameters=network.parameters,
        plain_multiply_adds=network.plain_multiply_adds,
        multiply_adds=network.multiply_adds,
        multiply_adds_ratio=network.multiply_adds / network.plain_multiply_adds,
        model=model_name(config),
        data=str(config.data.get("name", config.data._target_)),
        augment=config.data.get("augment"),
        convert=config.convert,
        sampling=str(ccnn.conversion_report(network.model).sampling) if config.convert else None,
        seed=config.seed,
        protocol=config.protocol,
        train_images=shape.train_images,
        batch_size=config.data.get("batch_size"),
    )
