"""All runs below some folders as one DataFrame, a row for each run."""

import json
import os
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml  # type: ignore[import-untyped]

from ccnn.errors import UserError
from ccnn.multisampling.samplers import Sampling
from ccnn.report.settings import Settings, flatten, full_name, last_part, mapping, relevant_settings
from ccnn.runs.record import RunRecord
from ccnn.runs.status import read_status

COLUMNS = ("folder", "state", "problem", "model", "data", "augment", "convert", "sampling", "seed", "protocol",
           "epochs", "train_images", "batch_size", "trained_epochs", "test/error", "started")  # fmt: skip
"""What every frame of runs has. `epochs` are the configured ones; early stopping makes `trained_epochs` fewer."""

CONFIG = "config."
"""How the columns of settings begin that may change a result."""

_MARKS = ("metrics.json", "status.json", "config.yaml")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster


def read_runs(paths: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Reads all runs in and below some folders, or those that an earlier report listed in a runs.csv.

    Returns:
        The runs, dtype object, None where unknown: `COLUMNS`, the keys of metrics.json and, dotted, of
        environment.json, and settings as `config.<key>`; and a line for each file or folder that was skipped.

    Raises:
        UserError: a path does not exist, or there is no run that can be used.
    """
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    folders: dict[Path, Path] = {}  # a run below two of the paths is one run
    for path in paths:
        if path.is_file() and path.suffix == ".csv":
            rows += _read_csv(path)
        elif path.is_dir():
            for folder in _run_folders(path, problems):
                folders.setdefault(folder.resolve(), folder)
        else:
            raise UserError(
                f"{path}: no such folder; expected one that train.py wrote, such as those in outputs/sweeps."
            )
    names = ", ".join(map(str, paths))
    if not folders and not rows:
        raise UserError(
            f"{names}: contains no run, nor do the folders below; expected metrics.json or config.yaml, as "
            "train.py writes them."
        )
    for folder in folders.values():
        try:
            rows.append(_read_run(folder, problems))
        except (UserError, ValueError) as error:
            problems.append(f"{folder}: skipped; {str(error).rstrip('.')}.")
    if not rows:
        raise UserError(
            f"{names}: none of {len(folders)} run folders can be used; the first: {problems[0].rstrip('.')}."
        )
    runs = pd.DataFrame(rows, dtype=object)
    runs = runs.reindex(columns=list(dict.fromkeys([*COLUMNS, *runs.columns])))
    return runs.astype(object).where(runs.notna(), None), problems


def runs_csv(runs: pd.DataFrame) -> str:
    """All runs as CSV, in order of their folders; `read_runs` reads it again."""
    return runs.sort_values("folder", key=lambda folders: folders.map(str)).to_csv(
        index=False, lineterminator="\n"
    )


def _run_folders(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The folder itself and those below it that contain a run, in order of their names."""

    def skip(error: OSError) -> None:
        problems.append(f"{error.filename}: skipped; {error.strerror}.")

    for place, below, files in os.walk(folder, onerror=skip):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if any(mark in files for mark in _MARKS):
            yield Path(place)


def _read_run(folder: Path, problems: list[str]) -> dict[str, Any]:
    """One row: from metrics.json, and from config.yaml where that says nothing, as for all that did not finish.

    Raises:
        UserError: metrics.json is damaged.
        ValueError: the files do not say what was run.
    """
    record = RunRecord.read(folder)
    metrics = record.to_dict() if record else {}
    config = _load(folder / "config.yaml", lambda text: yaml.load(text, Loader=_YAML), problems)
    environment = _load(folder / "environment.json", json.loads, problems)
    if not metrics and not config:
        raise ValueError("neither metrics.json nor config.yaml says what was run")
    model, data, trainer = (mapping(config, key) for key in ("model", "data", "trainer"))
    status = read_status(folder)
    unfinished = "unfinished" if status.state in ("", "finished") else status.state
    run: dict[str, Any] = {
        "folder": folder,
        "state": "finished" if metrics else unfinished,
        "problem": " ".join(str(status.error).split()) if status.error else None,
        "model": model.get("name") or last_part(model.get("_target_")),
        "data": data.get("name") or last_part(data.get("_target_")),
        "augment": data.get("augment") or "not recorded",
        "convert": config.get("convert"),
        "sampling": None,
        "seed": config.get("seed"),
        "protocol": config.get("protocol"),
        "epochs": None,
        "train_images": None,
        "batch_size": data.get("batch_size"),
        "trained_epochs": metrics.get("epochs"),
    }
    run |= {key: value for key, value in metrics.items() if value is not None or key not in run}
    for key, kind in {"model": str, "data": str, "convert": bool, "seed": int}.items():
        if not isinstance(run[key], kind):
            raise ValueError(f"config.yaml: expected {kind.__name__} for {key}, got {run[key]!r}")
    configured = trainer.get("max_epochs")
    if isinstance(configured, int) and configured >= 1:  # -1: max_steps or max_time decide
        run["epochs"] = configured
    run["model"] = full_name(run["model"], model)
    run["augment"] = str(run["augment"])
    run["sampling"] = _sampling(metrics, config) if run["convert"] else None
    environment.pop("seed", None)
    return {
        **run,
        **flatten(environment),
        **{f"{CONFIG}{key}": value for key, value in relevant_settings(config).items()},
        "started": _started(folder, environment),
    }


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False).map(_value)
        missing = {"model", "data", "seed", "convert", "test/error"} - {*frame.columns}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as the runs.csv of a report: {error}.") from error
    if missing:
        raise UserError(f"{path}: is no runs.csv of a report; it lacks {', '.join(sorted(missing))}.")
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _value(text: str) -> Any:
    """What a cell of runs.csv was before it was written."""
    try:
        value = literal_eval(text)
    except (ValueError, SyntaxError):
        return text or None
    return value if isinstance(value, bool | int | float) else text


def _load(path: Path, parse: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    """A file's mapping; empty, with a line in `problems` if the file exists, if it cannot be read."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"expected a mapping, got {type(content).__name__}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        problems.append(f"{path}: skipped; it cannot be read: {reason}.")
        return {}
    return content


def _sampling(metrics: Settings, config: Settings) -> str:
    """The sampling as ccnn.Sampling prints it, so that failed and finished runs have the same text."""
    settings = {key: value for key, value in mapping(config, "sampling").items() if key != "_target_"}
    try:
        if settings:
            return str(Sampling(**settings))
    except (TypeError, ValueError):
        pass  # of another version of ccnn
    return str(metrics.get("sampling") or settings.get("name") or "not recorded")


def _started(folder: Path, environment: Settings) -> float:
    """When the run began, in seconds: the date in environment.json, else the age of its files."""
    try:
        return datetime.fromisoformat(environment["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return max((folder / mark).stat().st_mtime for mark in _MARKS if (folder / mark).exists())
