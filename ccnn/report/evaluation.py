"""What an evaluation shows and writes: a table beside the paper's Table 2, as text, Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ccnn.errors import UserError
from ccnn.evaluation.networks import Network
from ccnn.evaluation.scoring import Score
from ccnn.files import shorter, write_json, write_text
from ccnn.report.paper import IMAGENET
from ccnn.report.proportions import paired_gain, wilson

RESULT = "evaluation.json"
"""The file that is written last: a folder that has it holds a whole evaluation."""

_WIDTH = 120  # characters in a line where the output is no terminal
_PUBLISHED_WEIGHTS = "IMAGENET1K_V1"  # torchvision's of 2018
_SEQUENCES = ("naive", "lattice")


def describe(result: Mapping[str, Any], names: Sequence[str]) -> None:
    """Prints what is about to be scored, on what and how."""
    console = _console()
    place = f"cpu, threads: {result['threads']}" if result["device"] == "cpu" else result["device"]
    for line in (
        f"{_title(result)} · {_images(result)} · {place} · {result['precision']}",
        f"Networks, on the same weights: {', '.join(names)}",
        f"Preprocessing: {result['preprocessing']}",
    ):
        console.print(line, soft_wrap=True)


def rows(networks: Sequence[Network], scores: Sequence[Score], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of each network, the plain one first: errors and intervals in percent.

    `top1_gain` is how much lower the error is than the plain network's, in percentage points, with the interval
    of a paired comparison. Top-5 errors of 5 classes or fewer are None, being zero.
    """
    found = []
    plain_wrong = torch.cat(scores[0].wrong)
    for network, score in zip(networks, scores, strict=True):
        wrong, count = torch.cat(score.wrong), len(plain_wrong)
        top1, top5 = int(wrong.sum()), int(torch.cat(score.wrong5).sum())
        fixed, broken = int((plain_wrong & ~wrong).sum()), int((~plain_wrong & wrong).sum())
        gain, interval = paired_gain(fixed, broken, count)
        plain = network.sampling is None
        found.append({
            "network": network.name,
            "sampling": None if network.sampling is None else str(network.sampling),
            "as_trained": network.as_trained,
            "top1_error": 100 * top1 / count,
            "top1_interval": list(wilson(top1, count)),
            "published_top1_error": _published(network, result),
            "top5_error": 100 * top5 / count if result["classes"] > 5 else None,
            "top5_interval": list(wilson(top5, count)) if result["classes"] > 5 else None,
            "top1_gain": None if plain else gain,
            "top1_gain_interval": None if plain else list(interval),
            "fixed": None if plain else fixed,
            "broken": None if plain else broken,
            "ms_per_image": score.ms_per_image,
            "peak_memory_mib": score.peak,
            "multiply_adds": network.multiply_adds,
            "multiply_adds_ratio": network.multiply_adds / networks[0].multiply_adds,
            "submaps": network.submaps,
        })  # fmt: skip
    return found


def write(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes the three files, each complete or not at all, the JSON last.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        write_text(folder / "evaluation.csv", _csv(result))
        write_text(folder / "evaluation.md", _markdown(result))
        write_json(folder / RESULT, result)
    except OSError as error:
        raise UserError(f"{folder}: the evaluation cannot be written: {error.strerror}.") from error


def show(folder: Path, result: Mapping[str, Any]) -> None:
    """Prints the table and where it is."""
    console = _console()
    header, *lines = _cells(result)
    table = Table(title=_title(result), title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    for line in lines:
        table.add_row(*(cell.replace(" [", "\n[") for cell in line))
    console.print(table)
    for note in _notes(result):
        console.print(note, soft_wrap=True)
    console.print(f"Written: {shorter(folder)}", soft_wrap=True)


def _published(network: Network, result: Mapping[str, Any]) -> float | None:
    """The paper's error, if its Table 2 has this network on this data, converted like this."""
    same = result["data"] == "imagenet" and result["classes"] == 1000 and result["library"] == "torchvision_model"
    if not same or result["run"]:
        return None
    errors = IMAGENET.get(result["model"])
    if errors is None or network.sampling is None:
        return errors and errors.cnn
    return errors.ccnn if str(network.sampling) in _SEQUENCES else None


def _title(result: Mapping[str, Any]) -> str:
    run = f" of {Path(result['run']).resolve().name}" if result["run"] else ""
    weights = result["weights"]
    if result["published_weights"] not in (None, weights):
        weights += f" = {result['published_weights']}"
    best = "best test epoch (protocol=paper)" if result["weights"] == "best.ckpt" else "protocol=paper"
    chosen = f", {best}" if result["protocol"] == "paper" else ""
    return f"{result['model']} ({weights}{run}{chosen}) on {result['data']}"


def _images(result: Mapping[str, Any]) -> str:
    part = "all" if result["images"] == result["test_images"] else f"{result['images']:,} of"
    return f"{part} {result['test_images']:,} test images"


def _cells(result: Mapping[str, Any]) -> list[list[str]]:
    """The table as texts, its header first; columns that would be empty are left out."""
    header = ["network", "top-1\nerror, %", "paper", "top-5\nerror, %",
              "gain over\nCNN, points", "ms per\nimage", "peak\nMiB",
              "multiply-\nadds", "× plain"]  # fmt: skip
    lines = []
    for row in result["networks"]:
        lines.append([
            row["network"] + (" (as trained)" if row["as_trained"] else ""),
            _with_interval(row["top1_error"], row["top1_interval"]),
            _number(row["published_top1_error"]),
            _with_interval(row["top5_error"], row["top5_interval"]),
            _with_interval(row["top1_gain"], row["top1_gain_interval"], "+.2f"),
            f"{row['ms_per_image']:.3g}",
            _number(row["peak_memory_mib"], ",.0f"),
            _multiply_adds(row["multiply_adds"]),
            f"{row['multiply_adds_ratio']:.2f}",
        ])  # fmt: skip
    kept = [i for i in range(len(header)) if any(line[i] for line in lines)]
    return [[line[i] for i in kept] for line in (header, *lines)]


def _notes(result: Mapping[str, Any]) -> list[str]:
    notes = [
        "[…]: 95 % intervals, of an error by Wilson's score",
        "gain: images that the conversion puts right minus those it breaks, in percent; a paired interval",
    ]
    if any(row["published_top1_error"] is not None for row in result["networks"]):
        weights = result["published_weights"]
        same = weights == _PUBLISHED_WEIGHTS
        notes.append(
            f"paper: Table 2, with torchvision's weights of 2018, {_PUBLISHED_WEIGHTS}"
            + ("" if same else f"; these are {weights or 'of a file'}, so compare gains, not errors")
            + ". Its one CCNN error per network stands beside naive and lattice."
            + (f" Ours: {_images(result)}." if result["images"] < result["test_images"] else "")
        )
    if result["device"] == "cpu":
        notes.append("memory is measured on a GPU only")
    return notes


def _markdown(result: Mapping[str, Any]) -> str:
    header, *lines = ([cell.replace("\n", " ") for cell in line] for line in _cells(result))
    table = [header, ["---", *("---:" for _ in header[1:])], *lines]
    facts = [
        f"{_images(result)}, batches of {result['batch_size']}, {result['device']}, {result['precision']}",
        f"preprocessing: {result['preprocessing']}",
        *_notes(result),
    ]
    text = [f"# {_title(result)}", "", *(f"| {' | '.join(line)} |" for line in table), ""]
    return "\n".join([*text, *(f"- {fact}" for fact in facts), ""])


def _csv(result: Mapping[str, Any]) -> str:
    """One line for each network, numbers in full."""
    shared = ("model", "weights", "protocol", "data", "images", "batch_size", "device", "precision")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for i, row in enumerate(result["networks"]):
        cells = {key: result[key] for key in shared}
        for key, value in row.items():
            cells |= {f"{key}_low": value[0], f"{key}_high": value[1]} if isinstance(value, list) else {key: value}
        if i == 0:
            names = [name for key in (*shared, *row) for name in _columns(key)]
            writer.writerow(names)
        writer.writerow([cells.get(name) for name in names])
    return out.getvalue()


def _columns(key: str) -> tuple[str, ...]:
    return (f"{key}_low", f"{key}_high") if key.endswith("_interval") else (key,)


def _with_interval(value: float | None, interval: Sequence[float] | None, form: str = ".2f") -> str:
    if value is None or interval is None:
        return ""
    return f"{value:{form}} [{interval[0]:{form}} … {interval[1]:{form}}]".replace("-", "−")


def _multiply_adds(count: int) -> str:
    return f"{count / 1e9:.3g} G" if count >= 1e9 else f"{count / 1e6:.3g} M"


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else f"{value:{form}}"


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)
