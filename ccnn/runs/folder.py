"""The files in a run's folder that say what was run, and where."""

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from ccnn.errors import UserError
from ccnn.files import write_json, write_text
from ccnn.runs.lock import LOCK
from ccnn.runs.record import RUNNING
from ccnn.runs.status import write_status

# What a run writes, in the order in which it is removed: while status.json is there, it is known not to run.
_WRITTEN = ("checkpoints", "conversions", "events.out.tfevents.*", "metrics.csv", "metrics.json", "hparams.yaml",
            "conversion.txt", "environment.json", "status.json")  # fmt: skip

# What Hydra and a run that was killed before it began leave, beside logs and temporary files.
_BEGINNING = ("multirun.yaml", "config.yaml", "overrides.yaml", LOCK)

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")


def begin(folder: Path, config: DictConfig, overrides: Sequence[str], conversion: str | None) -> None:
    """Writes what is needed to know and repeat a run, before its training begins.

    Args:
        folder: the run's folder, made if it does not exist.
        config: the configuration; saved with all references resolved.
        overrides: what was typed; a resumed run keeps what it was first started with.
        conversion: the report of the conversion, None for a plain network.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.yaml").exists():
            write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
        write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))  # from here on it is a run
        write_status(folder, RUNNING)
        write_json(folder / "environment.json", _environments(folder, environment(config.seed)))
        if conversion is not None:
            write_text(folder / "conversion.txt", conversion + "\n")
    except OSError as error:
        raise UserError(f"{folder}: the run's folder cannot be written: {error}.") from error


# What old runs call things that have moved since; their folders still resume, evaluate and report.
MOVED = {
    "ccnn.callbacks.Throughput": "ccnn.training.callbacks.Throughput",
    "ccnn.progress.Progress": "ccnn.training.console.Progress",
    "ccnn.pictures.callback.Pictures": "ccnn.figures.callback.Pictures",
    "ccnn.schedulers.constant": "ccnn.training.schedulers.constant",
    "ccnn.schedulers.cosine": "ccnn.training.schedulers.cosine",
    "ccnn.schedulers.multistep": "ccnn.training.schedulers.multistep",
}


def saved_config(word: str, folder: Path) -> DictConfig:
    """Reads the configuration of a run as plain data, with the names that moved classes have today.

    Args:
        word: of the command line that names the folder.
        folder: of the run.

    Raises:
        UserError: it is no run's folder, or its config.yaml is damaged, or would be composed or resolved again.
    """
    path = folder / "config.yaml"
    try:
        saved = OmegaConf.load(path)
    except (FileNotFoundError, NotADirectoryError):
        what = "no folder of a run, it has no config.yaml" if folder.is_dir() else "no folder"
        raise UserError(f"{word}: {folder} is {what}; expected one such as those in outputs/runs.") from None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{word}: {path} cannot be read: {error}.") from error
    if not isinstance(saved, DictConfig) or "model" not in saved:
        raise UserError(f"{word}: {path} is no configuration of a run.")
    return OmegaConf.create(_as_saved(OmegaConf.to_container(saved), "", f"{word}: {path}"))


def _as_saved(node: Any, key: str, where: str) -> Any:
    """The same tree; raises for what no run saves, since Hydra and OmegaConf would read or call other things."""
    if isinstance(node, dict):
        if foreign := {"defaults", "hydra"} & node.keys() if not key else None:
            raise UserError(
                f"{where}: has the key {min(foreign)}, which no run saves; expected plain values alone."
            )
        return {
            name: _as_saved(value, f"{key}.{name}" if key else str(name), where) for name, value in node.items()
        }
    if isinstance(node, list):
        return [_as_saved(value, f"{key}[{number}]", where) for number, value in enumerate(node)]
    if isinstance(node, str) and "${" in node:
        raise UserError(f"{where}: {key} is {node!r}, an interpolation; a run saves plain values alone.")
    return MOVED.get(node, node) if key.endswith("._target_") else node


def refuse_other_files(folder: Path) -> None:
    """Raises if a folder for a new run holds unrelated files.

    Raises:
        UserError: it does.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() or not (path.suffix in (".log", ".tmp") or path.name in _BEGINNING):
            raise UserError(
                f"{folder}: holds other files, such as {path.name}; choose a folder that is new or empty with "
                "hydra.run.dir=…"
            )


def clear(folder: Path) -> None:
    """Removes what an earlier attempt at a run left, except Hydra's logs and what says which run it is."""
    for name in _WRITTEN:
        for path in [*folder.glob(name), *folder.glob(f"{name}.tmp")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def discard(folder: Path) -> None:
    """Removes what Hydra made for a run that never began; a folder that holds anything else stays."""
    if (folder / "config.yaml").exists() or not folder.is_dir():
        return
    if all(path.suffix == ".log" or path.name == "multirun.yaml" for path in folder.iterdir()):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def other_environment(folder: Path) -> str:
    """Describes how this machine differs from the one where a run began, as far as results depend on it."""
    before, now = _decisive(_read(folder / "environment.json")), _decisive(environment(0))
    differing = [
        f"{name} is {now[name]} here, was {value}"
        for name, value in before.items()
        if value is not None and value != now[name]
    ]
    return f"{'; '.join(differing)}: the result will not be the same bit for bit." if differing else ""


def _decisive(environment: dict[str, Any]) -> dict[str, Any]:
    """What rounding depends on."""
    names = ("threads", "processor", "gpus")
    return {name: environment.get(name) for name in names} | {
        "torch": environment.get("packages", {}).get("torch")
    }


def _environments(folder: Path, now: dict[str, Any]) -> dict[str, Any]:
    """The environment in which the run began, followed by those in which it was resumed."""
    before = _read(folder / "environment.json")
    return before | {"resumed": [*before.get("resumed", []), now]} if before else now


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def environment(seed: int) -> dict[str, Any]:
    """Describes the machine and the program: versions, commit, device, threads, seed, date."""
    import torch  # takes seconds, and the command line reads saved configurations without it

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
