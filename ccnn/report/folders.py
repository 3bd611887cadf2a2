"""Finds run folders and reads their files; what is damaged or foreign is told in a line and skipped."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ccnn.errors import UserError
from ccnn.report.reading import NotARunError, build
from ccnn.report.runs import Run
from ccnn.runs.status import RUNNING, read_status

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster
_MARKS = ("metrics.json", "status.json", "config.yaml")


def gather(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Reads all runs in and below some folders.

    Returns:
        The runs, and a line for each file or folder that was skipped.

    Raises:
        UserError: a folder does not exist, or there is no run that can be used.
    """
    problems: list[str] = []
    found: dict[Path, Path] = {}  # a run below two of the folders is one run
    for folder in folders:
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "there is no such folder"
            raise UserError(
                f"{folder}: {what}; expected one that train.py wrote, such as those in outputs/sweeps."
            )
        for place in _run_folders(folder, problems):
            found.setdefault(place.resolve(), place)
    if not found:
        raise UserError(
            f"{', '.join(map(str, folders))}: holds no run, nor do the folders below; expected metrics.json or "
            "config.yaml, as train.py writes them."
        )
    runs = [run for place in found.values() if (run := read(place, problems))]
    if not runs:
        raise UserError(
            f"{', '.join(map(str, folders))}: none of {len(found)} run folders can be used; "
            f"the first: {problems[0].rstrip('.')}."
        )
    return runs, problems


def read(folder: Path, problems: list[str]) -> Run | None:
    """Reads one run folder; None, and a line in `problems`, if it cannot be used."""
    metrics = _load(folder / "metrics.json", json.loads, problems)
    if metrics is None and (folder / "metrics.json").exists():
        return None  # it finished, but how well is lost
    config = _load(folder / "config.yaml", lambda text: yaml.load(text, Loader=_YAML), problems)
    status = _load(folder / "status.json", json.loads, problems) or {}
    if isinstance(status, dict) and status.get("state") == RUNNING:
        status = asdict(read_status(folder))  # whose process may be gone
    environment = _load(folder / "environment.json", json.loads, problems) or {}
    try:
        return build(folder, metrics, config, status, environment, _started(folder, environment))
    except NotARunError as error:
        problems.append(f"{folder}: skipped; {error}.")
        return None


def _run_folders(folder: Path, problems: list[str]) -> list[Path]:
    """The folder itself and those below it that hold a run, in order of their names."""
    found = []
    for place, below, files in os.walk(
        folder, onerror=lambda error: problems.append(f"{error.filename}: skipped; {error.strerror}.")
    ):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if any(mark in files for mark in _MARKS):
            found.append(Path(place))
    return found


def _load(path: Path, parse: Callable[[str], Any], problems: list[str]) -> Any:
    """A file's content; None if there is no such file, or, with a line in `problems`, if it is not as expected."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        problems.append(f"{path}: skipped; it cannot be read: {why}.")
        return None
    if not isinstance(content, dict):
        problems.append(f"{path}: skipped; expected a mapping, got {type(content).__name__}.")
        return None
    return content


def _started(folder: Path, environment: dict[str, Any]) -> float:
    """When the run began, in seconds; by its environment.json, else by the age of its files."""
    try:
        return datetime.fromisoformat(environment["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return max((folder / mark).stat().st_mtime for mark in _MARKS if (folder / mark).exists())
