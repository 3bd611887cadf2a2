"""The files in a run's folder that say what was run and what came of it."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ccnn.errors import UserError

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")


def begin(folder: Path, config: DictConfig, overrides: Sequence[str], conversion: str | None) -> None:
    """Writes what is needed to know and repeat a run, before its training begins.

    Args:
        folder: the run's folder, made if it does not exist.
        config: the configuration; saved with all references resolved.
        overrides: what was typed; what a run that goes on was first started with is kept.
        conversion: the report of the conversion, None for a plain network.

    Raises:
        UserError: the folder cannot be written.
    """
    from ccnn.runs.status import RUNNING, write_status

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").exists():
            write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
        write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))  # from here on it is a run
        write_status(folder, RUNNING)
        write_json(folder / "environment.json", environment(config.seed))
        if conversion is not None:
            write_text(folder / "conversion.txt", conversion + "\n")
    except OSError as error:
        raise UserError(f"{folder}: the run's folder cannot be written: {error}.") from error


def discard(folder: Path) -> None:
    """Removes what Hydra made for a run that never began; a folder that holds anything else stays."""
    if (folder / "config.yaml").exists() or not folder.is_dir():
        return
    if all(path.suffix == ".log" or path.name == "multirun.yaml" for path in folder.iterdir()):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file that is either complete or as it was before, whatever happens meanwhile."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def environment(seed: int) -> dict[str, Any]:
    """Describes the machine and the program: versions, commit, device, threads, seed, date."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "git": _git(),
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "cuda": torch.version.cuda if cuda else None,
    }


def _git() -> dict[str, Any] | None:
    """The commit of this program and whether files differ from it; None outside of a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
