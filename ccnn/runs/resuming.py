"""Where a run starts: at the beginning, at a checkpoint, or not at all because it is finished."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Private, but nothing else knows every launcher's variables before there is a trainer; test_ddp notices changes.
from lightning_fabric.utilities.rank_zero import _get_rank
from omegaconf import DictConfig, OmegaConf

from ccnn.config.hyperparameters import flatten
from ccnn.errors import UserError
from ccnn.files import shorter
from ccnn.runs.allowed_targets import check_targets
from ccnn.runs.checkpoints import latest_checkpoint, relocated
from ccnn.runs.folder import refuse_other_files, saved_config
from ccnn.runs.lock import Lock
from ccnn.runs.record import FINISHED, INTERRUPTED, RUNNING, RunRecord
from ccnn.runs.status import read_status, write_status

_DEVICES = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")

# Where and how a run is carried out, not what it is: a resumed run may have other values.
_PLACE = ("resume", "trust", "debug", "output_dir", "exclude", "sweep", "evaluation", *_DEVICES,
          "trainer.default_root_dir", "data.root", "data.download", "data.num_workers")  # fmt: skip

# Keys that older versions lacked, or had and did not need: what they say follows from others.
_DERIVED = ("trainer.channels_last", "trainer.enable_progress_bar", "trainer.use_distributed_sampler",
            "callbacks.throughput.compiled")  # fmt: skip

# Keys that older versions lacked, and what they did.
_FORMER = {"optimizer.decay_norm_and_bias": True}

_LENGTH = "trainer.max_epochs"

# Environment variables that tell the processes of a strategy what the first process chose.
_FOLDER, _CHECKPOINT = "CCNN_RUN_FOLDER", "CCNN_RUN_CHECKPOINT"


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        folder: of the run.
        config: what it is.
        checkpoint: to resume from; None for the beginning.
        metrics: of a finished run; None to train.
        message: to the user.
        lock: on the folder, to be released when the run ends.
        known: whether the folder already was that of a run.
    """

    folder: Path
    config: DictConfig
    checkpoint: Path | None = None
    metrics: RunRecord | None = None
    message: str = ""
    lock: Lock = field(default_factory=Lock)
    known: bool = True

    def occupy(self) -> None:
        """Makes the folder and locks it, if it did not exist when the run looked for its start.

        Raises:
            UserError: another run has started there since.
        """
        if self.lock.held:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # reported when files are written there
            return
        self.lock.take(self.folder)
        if not self.known and (self.folder / "config.yaml").exists():
            raise _taken(self.folder)


def find_start(config: DictConfig, folder: Path, overrides: Sequence[str], sweep: bool) -> Start:
    """Finds where a run starts, and locks its folder if that exists. No run is changed.

    Args:
        config: composed; its `resume` is null, `auto` or the folder of a run.
        folder: that Hydra chose.
        overrides: what was typed.
        sweep: the run is one of a sweep, whose folders are the same for the same command: finished runs are
            skipped, interrupted ones resumed, failed ones repeated.

    Raises:
        UserError: there is no such run, it is a different one, or it is running.
    """
    if _FOLDER in os.environ and _get_rank():
        folder, checkpoint = Path(os.environ[_FOLDER]), os.environ[_CHECKPOINT]
        return Start(folder, _saved(folder), Path(checkpoint) if checkpoint else None)
    lock = Lock()
    try:
        if config.resume == "":
            raise UserError("resume: is empty; expected the folder of a run, auto, or null.")
        if config.resume in (None, "auto"):
            start = _new_or_known(config, folder, sweep, lock)
        else:
            start = _named(config, overrides, lock)
    except BaseException:
        lock.release()
        raise
    os.environ[_FOLDER], os.environ[_CHECKPOINT] = str(start.folder), str(start.checkpoint or "")
    return start


def _named(config: DictConfig, overrides: Sequence[str], lock: Lock) -> Start:
    """The run whose folder `resume` names: as it was saved, but where the command line says."""
    folder = Path(config.resume).expanduser().absolute()
    saved = _saved(folder)
    if not config.get("trust"):
        check_targets("resume", OmegaConf.to_container(saved), OmegaConf.to_container(config, resolve=True))
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    _check_same(saved, config, folder, typed)
    moved = [key for key in _PLACE if key in typed or ("trainer" in typed and key in _DEVICES)]
    # A run of an older version lacks groups and keys; it resumes with their defaults.
    added = [str(group) for group in config if group not in saved]
    for key in [*moved, *added, "resume", "trust"]:
        OmegaConf.update(saved, key, OmegaConf.select(config, key), force_add=True)
    return _resume(saved, folder, again=False, lock=lock)


def _new_or_known(config: DictConfig, folder: Path, sweep: bool, lock: Lock) -> Start:
    """A new run, or the one that the same command has left in the folder."""
    if config.resume == "auto" and not sweep:
        folder = _newest(config, folder) or folder
    if not (folder / "config.yaml").exists():
        refuse_other_files(folder)
        if not _get_rank():
            lock.take(folder)
    if not (folder / "config.yaml").exists():  # again, now that nobody else can write it
        return Start(folder, config, lock=lock, known=False)
    if not (sweep or config.resume == "auto"):
        raise _taken(folder)
    _check_same(_saved(folder), config, folder)
    return _resume(config, folder, again=sweep, lock=lock)


def _taken(folder: Path) -> UserError:
    return UserError(
        f"{folder}: holds a run already, which is left as it is; choose another hydra.run.dir, or resume it: "
        f"resume={folder}"
    )


def _resume(config: DictConfig, folder: Path, again: bool, lock: Lock) -> Start:
    first = not _get_rank()  # the others find the status that the first process of this very run has written
    if first:
        lock.take(folder)
    status = read_status(folder)
    try:
        metrics, damaged = RunRecord.read(folder), ""
    except UserError as error:
        metrics, damaged = None, f"{error} The run is tested again. "
    if metrics is not None:
        if first and status.state != FINISHED:  # killed between the two files
            with suppress(OSError):  # of somebody else, or on a full disk: metrics.json says the same
                write_status(folder, FINISHED)
        message = f"{shorter(folder)}: is finished already, test error {metrics.test_error:.2f} %."
        return Start(folder, config, metrics=metrics, message=message, lock=lock)
    if status.state == RUNNING and first:
        raise UserError(
            f"{folder}: is running, as process {status.process} of {status.host}. If it is not, "
            f"delete {folder / 'status.json'}."
        )
    if again and status.state not in (INTERRUPTED, FINISHED, ""):
        message = f"{shorter(folder)}: {status.state} before, starts from the beginning."
        return Start(folder, config, message=message, lock=lock)
    checkpoint, message = latest_checkpoint(folder)
    if checkpoint is not None:
        message = message or f"{shorter(folder)}: resumes from {checkpoint.name}."
    message = damaged + (message or f"{shorter(folder)}: has no checkpoint yet, starts from the beginning.")
    return Start(folder, config, checkpoint, message=message, lock=lock)


def _saved(folder: Path) -> DictConfig:
    """What a run is, with paths as its folder is called now."""
    saved = saved_config("resume", folder)
    return OmegaConf.create(relocated(OmegaConf.to_container(saved), str(saved.get("output_dir")), str(folder)))


def _check_same(saved: DictConfig, config: DictConfig, folder: Path, typed: set[str] | None = None) -> None:
    """Raises if a run would be resumed as a different one.

    Args:
        saved: what the run is.
        config: what was asked for.
        folder: of the run.
        typed: compares only these keys and those below them; None: all.
    """
    old, new = _comparable(saved), _comparable(config)
    if typed is None or "experiment" in typed:  # which may set any key
        typed = old.keys() | new.keys()
    for key in sorted(old.keys() | new.keys()):
        if key.startswith((*_PLACE, *_DERIVED)) or key.partition(".")[0] not in saved:
            continue
        if key.startswith("data.augmentations.") and key not in old:
            continue  # a choice that the older version lacked; what the run uses is in data.augmentation
        if old.get(key, _FORMER.get(key)) == new.get(key, _FORMER.get(key)):
            continue
        if any(key == name or key.startswith(f"{name}.") for name in typed):
            why = " The schedule depends on its length: a longer training is a new run." if key == _LENGTH else ""
            raise UserError(
                f"{folder}: is the run of another configuration: {key} is {old.get(key)!r} there, now "
                f"{new.get(key)!r}. Take the override away, or choose another folder.{why}"
            )


def _comparable(config: DictConfig) -> dict[str, Any]:
    """All keys and values, paths in the run's folder without that folder."""
    flat = flatten(OmegaConf.to_container(config, resolve=True))
    return dict(relocated(flat, str(flat.get("output_dir")), "the run's folder"))


def _newest(config: DictConfig, folder: Path) -> Path | None:
    """The newest unfinished run of the same command, or else the newest: their folders differ in the time."""
    name = folder.name.rpartition("_")[0].rpartition("_")[0]
    runs = sorted(folder.parent.glob(f"{name}_*"), reverse=True) if name else []
    runs.sort(key=lambda run: (run / "metrics.json").exists())
    for run in runs:
        if run == folder or not (run / "config.yaml").exists():
            continue
        with suppress(UserError):
            _check_same(_saved(run), config, run)
            return run
    return None
