"""Where a run begins: anew, where an interrupted one stopped, or not at all because it is finished."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import _get_rank
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from ccnn.config.hyperparameters import flatten
from ccnn.errors import UserError
from ccnn.result_table import shorter
from ccnn.runs.checkpoints import latest_checkpoint, relocated
from ccnn.runs.status import INTERRUPTED, RUNNING, read_status

_PLACE = ("resume", "debug", "output_dir", "exclude", "sweep", "evaluation", "trainer.accelerator",
          "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.default_root_dir", "data.root",
          "data.download", "data.num_workers")  # fmt: skip
"""Where and how a run is carried out, not what it is: these may differ when it goes on."""

_FOLDER, _CHECKPOINT = "CCNN_RUN_FOLDER", "CCNN_RUN_CHECKPOINT"
"""Tell the processes that a strategy starts what the first one chose."""

_KEPT = ("multirun.yaml", "config.yaml", "overrides.yaml")


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        folder: of the run.
        config: what it is.
        checkpoint: to go on from; None to begin anew.
        metrics: of a run that is finished; None to train.
        said: what there is to tell the user.
    """

    folder: Path
    config: DictConfig
    checkpoint: Path | None = None
    metrics: dict[str, Any] | None = None
    said: str = ""


def find_start(config: DictConfig, folder: Path, overrides: Sequence[str], sweep: bool) -> Start:
    """Looks where a run begins. Nothing is written.

    Args:
        config: composed; its `resume` is null, `auto` or the folder of a run.
        folder: that Hydra chose.
        overrides: what was typed.
        sweep: the run is one of a sweep, whose folders are the same for the same command: finished runs are
            skipped, interrupted ones go on, failed ones begin anew.

    Raises:
        UserError: there is no such run, it is another one, or it is running.
    """
    if _FOLDER in os.environ and _get_rank():
        folder, checkpoint = Path(os.environ[_FOLDER]), os.environ[_CHECKPOINT]
        return Start(folder, _saved(folder), Path(checkpoint) if checkpoint else None)
    start = _find(config, folder, overrides, sweep)
    os.environ[_FOLDER], os.environ[_CHECKPOINT] = str(start.folder), str(start.checkpoint or "")
    return start


def clear(folder: Path) -> None:
    """Removes what an earlier attempt at a run left, all but Hydra's logs and what says which run it is."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _KEPT and path.suffix != ".log":
            path.unlink()


def _find(config: DictConfig, folder: Path, overrides: Sequence[str], sweep: bool) -> Start:
    if config.resume not in (None, "auto"):
        folder = Path(config.resume).expanduser().absolute()
        saved = _saved(folder)
        _same(saved, config, folder, [override.lstrip("+~").partition("=")[0] for override in overrides])
        for key in _PLACE:
            if any(override.lstrip("+").partition("=")[0] == key for override in overrides):
                OmegaConf.update(saved, key, OmegaConf.select(config, key), force_add=True)
        for group in config:  # of a younger program; the run goes on with its default
            if group not in saved:
                OmegaConf.update(saved, str(group), config[group], force_add=True)
        OmegaConf.update(saved, "resume", config.resume)
        return _go_on(saved, folder, again=False)
    if config.resume == "auto" and not sweep:
        folder = _newest(config, folder) or folder
    if not (folder / "config.yaml").exists():
        return Start(folder, config)
    if not (sweep or config.resume == "auto"):
        raise UserError(
            f"{folder}: holds a run already, which is left as it is; choose another hydra.run.dir, or go on with "
            f"it: resume={folder}"
        )
    saved = _saved(folder)
    _same(saved, config, folder)
    return _go_on(config, folder, again=sweep)


def _go_on(config: DictConfig, folder: Path, again: bool) -> Start:
    status = read_status(folder)
    if (folder / "metrics.json").exists():
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return Start(folder, config, metrics=metrics, said=f"{shorter(folder)}: is finished already.")
    if status["state"] == RUNNING and not _get_rank():  # or it is the first process of this very run
        raise UserError(
            f"{folder}: is running, as process {status.get('process')} of {status.get('host')}. If it is not, "
            f"delete {folder / 'status.json'}."
        )
    if again and status["state"] not in (INTERRUPTED, ""):
        return Start(folder, config, said=f"{shorter(folder)}: {status['state']} before, begins anew.")
    checkpoint, said = latest_checkpoint(folder)
    if checkpoint is not None:
        return Start(
            folder, config, checkpoint, said=said or f"{shorter(folder)}: goes on from {checkpoint.name}."
        )
    return Start(folder, config, said=said or f"{shorter(folder)}: has no checkpoint yet, begins anew.")


def _saved(folder: Path) -> DictConfig:
    try:
        saved = OmegaConf.load(folder / "config.yaml")
    except FileNotFoundError:
        raise UserError(f"resume: {folder} is no folder of a run, it has no config.yaml.") from None
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"resume: {folder / 'config.yaml'} cannot be read: {error}.") from error
    if not isinstance(saved, DictConfig) or "model" not in saved:
        raise UserError(f"resume: {folder / 'config.yaml'} is no configuration of a run.")
    return OmegaConf.create(relocated(OmegaConf.to_container(saved), str(saved.get("output_dir")), str(folder)))


def _same(saved: DictConfig, config: DictConfig, folder: Path, typed: Sequence[str] | None = None) -> None:
    """Refuses to go on with a run as something else.

    Args:
        saved: what the run is.
        config: what was asked for.
        folder: of the run.
        typed: look at these keys and what is below them alone; None: at all.
    """
    old, new = _comparable(saved), _comparable(config)
    if typed is None or "experiment" in typed:  # which may set any key
        typed = list(old.keys() | new.keys())
    for key in sorted(old.keys() | new.keys()):
        if key.startswith(_PLACE) or old.get(key) == new.get(key):
            continue
        if key.partition(".")[0] not in saved:  # a younger program's
            continue
        if any(key == name or key.startswith(f"{name}.") for name in typed):
            raise UserError(
                f"{folder}: is the run of another configuration: {key} is {old.get(key)!r} there, now "
                f"{new.get(key)!r}. Take the override away, or choose another folder."
            )


def _comparable(config: DictConfig) -> dict[str, Any]:
    """All keys and their values, those that name something in the run's folder without that folder."""
    flat = flatten(OmegaConf.to_container(config, resolve=True))
    return dict(relocated(flat, str(flat.get("output_dir")), "the run's folder"))


def _newest(config: DictConfig, folder: Path) -> Path | None:
    """The newest unfinished run of the same command, or else the newest: the folder's name differs in its time."""
    name = folder.name.rpartition("_")[0].rpartition("_")[0]
    runs = sorted(folder.parent.glob(f"{name}_*"), reverse=True) if name else []
    runs.sort(key=lambda run: (run / "metrics.json").exists())
    for run in runs:
        if run == folder or not (run / "config.yaml").exists():
            continue
        try:
            _same(_saved(run), config, run)
        except UserError:
            continue
        return run
    return None
