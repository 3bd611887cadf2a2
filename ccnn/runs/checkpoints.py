"""Checkpoints that are complete or absent, and read without running anything in them."""

import os
import shutil
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor

from ccnn.errors import UserError
from ccnn.files import replace

LAST, BEFORE_LAST = "last.ckpt", "before_last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the old one, and then replaces that.

    The checkpoint before the last is kept as `before_last.ckpt`, in case a failing disk damages the last.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: the disk is full or cannot be written; the previous checkpoint is unchanged.
        """
        path = Path(path)
        temporary = path.with_name(path.name + ".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint | {"folder": os.path.realpath(path.parents[1])}, file)
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                spare = path.with_name(BEFORE_LAST)
                link = spare.with_name(spare.name + ".tmp")
                link.unlink(missing_ok=True)
                try:
                    os.link(path, link)
                except OSError:  # a file system without links: for a moment there is no last checkpoint
                    link = path
                os.replace(link, spare)
            replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            temporary.unlink(missing_ok=True)
            raise UserError(f"{path}: the checkpoint cannot be written: {_first_line(error)}.") from error

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint whose run's folder may have been moved since."""
        path = Path(path).absolute()
        checkpoint = read_checkpoint(path)
        now = os.path.realpath(path.parents[1])
        for before in _folders(checkpoint):
            checkpoint["callbacks"] = relocated(checkpoint["callbacks"], before, now)
        return checkpoint


def relocated(tree: Any, before: str, now: str) -> Any:
    """The same values, with the paths below one folder as they are below another."""
    if isinstance(tree, dict):
        return {relocated(key, before, now): relocated(value, before, now) for key, value in tree.items()}
    if isinstance(tree, list):
        return [relocated(value, before, now) for value in tree]
    if isinstance(tree, str) and (tree == before or tree.startswith(before + "/")):
        return now + tree.removeprefix(before)
    return tree


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of a run: tensors and plain values alone, nothing in it is run.

    Raises:
        UserError: it is missing or damaged, or holds anything else.
    """
    try:
        if zipfile.is_zipfile(path):  # torch does not verify its checksums
            with zipfile.ZipFile(path) as archive:
                if name := archive.testzip():
                    raise UserError(f"{path}: is damaged, the checksum of {name} in it is wrong.")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint.") from None
    except UnpicklingError as error:
        if "nsupported" in str(error) or "disallowed" in str(error):
            raise UserError(
                f"{path}: was refused, it holds more than tensors and plain values and may be an attack; nothing "
                "in it was run."
            ) from error
        raise UserError(f"{path}: is cut off, damaged, or no checkpoint.") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: is cut off, damaged, or no checkpoint ({_first_line(error)}).") from error
    if not _is_of_a_run(checkpoint):
        raise UserError(
            f"{path}: is no checkpoint of a run of train.py; expected weights and the training's state."
        )
    return checkpoint


def _is_of_a_run(checkpoint: Any) -> bool:
    if not isinstance(checkpoint, dict):
        return False
    parts = [checkpoint.get(key) for key in ("state_dict", "loops")]
    parts += [checkpoint.get(key, {}) for key in ("callbacks", "hyper_parameters")]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(checkpoint.get("global_step"), int):
        return False
    return all(isinstance(value, Tensor) for value in checkpoint["state_dict"].values())


def latest_checkpoint(folder: Path) -> tuple[Path | None, str]:
    """The checkpoint to resume from, and a message about damaged ones.

    Args:
        folder: of the run.

    Returns:
        The last checkpoint, or the one before if that is damaged; None if there is no good one.
    """
    message = ""
    for name in (LAST, BEFORE_LAST):
        path = folder / "checkpoints" / name
        if not path.exists():
            continue
        try:
            best = _best(read_checkpoint(path))
        except UserError as error:
            message += f"{error} "
            continue
        try:
            if best:  # with whose weights the run will be tested, unless a better epoch follows
                read_checkpoint(path.with_name(best))
        except UserError as error:
            message += f"{error} "
            break
        return path, f"{message}Resuming from {name}." if message else ""
    return None, f"{message}Starting from the beginning." if message else ""


def _best(checkpoint: dict[str, Any]) -> str:
    """The name of the checkpoint of the best epoch, beside this one; empty if there is none."""
    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, dict) and state.get("monitor") and state.get("best_model_path"):
            best = Path(state["best_model_path"])
            if best.parent.name == "checkpoints" and str(best.parents[1]) in _folders(checkpoint):
                return best.name
    return ""


def _folders(checkpoint: dict[str, Any]) -> set[str]:
    """Names of the run's folder when the checkpoint was written.

    Lightning follows symlinks before it writes a path down, and forgets the best epoch if the paths differ.
    """
    named = str(checkpoint.get("hyper_parameters", {}).get("output_dir"))
    return {named, os.path.realpath(named), checkpoint.get("folder", named)}


def remove_damaged(checkpoint: Path) -> None:
    """Removes a damaged last checkpoint, so that it does not replace the good one before it."""
    last = checkpoint.with_name(LAST)
    if checkpoint.name == BEFORE_LAST and last.is_dir():
        shutil.rmtree(last)
    elif checkpoint.name == BEFORE_LAST:
        last.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
