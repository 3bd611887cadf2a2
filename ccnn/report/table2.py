"""Gathers evaluations of pretrained networks into the paper's Table 2, with what is missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccnn.errors import UserError
from ccnn.report.format import quantity, setting, signed, times
from ccnn.report.paper import IMAGENET, IMAGENET_NAMES
from ccnn.report.tables import MISSING, Group, Sheet

HEADER = (
    "network",
    "top-1 error, %",
    "paper",
    "difference",
    "gain over the CNN",
    "95 % interval",
    "paper's gain",
    "ms per image",
    "multiply-adds",
)
LEGEND = (
    "One pass over the images, no training. Differences and gains are percentage points, a positive gain is "
    "better; the interval is of the paired comparison. Multiply-adds of a CCNN are over those of the CNN (×). The "
    "paper gives one CCNN error per network; it stands beside naive and lattice."
)
_WEIGHTS = "IMAGENET1K_V1"
"""torchvision's of 2018, which the paper scores."""

_ELSEWHERE = {"fb_resnet152": "torchvision has no such network"}


@dataclass(frozen=True)
class Gathered:
    """A table that needs no training, in all forms.

    Args:
        sheets: as text.
        notes: on the whole.
        legend: how to read the numbers.
        rows: of its CSV, numbers in full.
    """

    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...]
    legend: str
    rows: tuple[dict[str, Any], ...]


def files(folders: Sequence[Path], name: str, command: str) -> list[Path]:
    """The files of a name in and below some folders, the newest last.

    Raises:
        UserError: a folder does not exist, or there is no such file.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; expected one that {command} wrote.")
    found = {path.resolve(): path for folder in folders for path in folder.rglob(name)}
    if not found:
        raise UserError(
            f"{', '.join(map(str, folders))}: holds no {name}, nor do the folders below; {command} writes them."
        )
    return sorted(found.values(), key=lambda path: (path.stat().st_mtime, str(path)))


def table2(folders: Sequence[Path]) -> Gathered:
    """Table 2 from the evaluation.json files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    found: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for path in files(folders, "evaluation.json", "python train.py -m experiment=table2"):
        result = _read(path)
        model = result["model"]
        if not _is_of_the_table(result):
            notes.append(f"{path}: left out; {model} on {result['data']} is not of Table 2.")
            continue
        if model in found:
            notes.append(f"{IMAGENET_NAMES[model]}: several evaluations, the newest counts, {path.parent}.")
        found[model] = result
    groups, rows = [], []
    for model in IMAGENET:
        lines = _lines(model, found.get(model))
        rows += lines
        groups.append(Group(IMAGENET_NAMES[model], tuple(_cells(line) for line in lines)))
        if model not in found and model in _ELSEWHERE:
            notes.append(f"{IMAGENET_NAMES[model]}: {_ELSEWHERE[model]}.")
    title = "Table 2: ImageNet, top-1 error, single crop, converted without training"
    sheet = Sheet(title, HEADER, tuple(groups), (*_unlike(found), *_places(found)))
    return Gathered((sheet,), tuple(notes), LEGEND, tuple(rows))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return {key: result[key] for key in _KEYS} | {
            "networks": [{key: row[key] for key in _OF_A_NETWORK} for row in result["networks"]]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an evaluation of this program: {error}.") from error


_KEYS = (
    "model", "library", "run", "data", "classes", "published_weights", "images", "test_images", "device",
    "precision",
)  # fmt: skip
_OF_A_NETWORK = (
    "network", "sampling", "top1_error", "top1_gain", "top1_gain_interval", "published_top1_error",
    "ms_per_image", "peak_memory_mib", "multiply_adds", "multiply_adds_ratio",
)  # fmt: skip


def _is_of_the_table(result: Mapping[str, Any]) -> bool:
    same = result["library"] == "torchvision_model" and (result["data"], result["classes"]) == ("imagenet", 1000)
    return same and result["model"] in IMAGENET and not result["run"]


def _lines(model: str, result: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A network's rows of the CSV: as it was scored, or what the paper has of it."""
    paper = IMAGENET[model]
    assert paper.cnn is not None
    assert paper.ccnn is not None
    if result is None:
        nothing = dict.fromkeys(_OF_A_NETWORK)
        scored = [
            nothing | {"network": "CNN", "published_top1_error": paper.cnn},
            nothing | {"network": "CCNN", "sampling": "", "published_top1_error": paper.ccnn},
        ]
    else:
        scored = result["networks"]
    shared = {key: result and result[key] for key in ("published_weights", "images", "device", "precision")}
    rows = []
    for row in scored:
        value, published = row["top1_error"], row["published_top1_error"]
        low, high = row["top1_gain_interval"] or (None, None)
        converted = row["sampling"] is not None
        rows.append({
            "model": model,
            "network": row["network"],
            "top1_error": value,
            "published": published,
            "difference": None if value is None or published is None else value - published,
            "gain": row["top1_gain"],
            "gain_low": low,
            "gain_high": high,
            "published_gain": round(paper.cnn - paper.ccnn, 2) if converted and published is not None else None,
            **{key: row[key] for key in _OF_A_NETWORK[6:]},
            **shared,
            "unlike_paper": "; ".join(_differences(result)) if result else "",
        })  # fmt: skip
    return rows


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = line["gain_low"], line["gain_high"]
    mark = "†" if line["unlike_paper"] else ""
    plain = line["network"] == "CNN"
    return (
        line["network"],
        MISSING if line["top1_error"] is None else f"{line['top1_error']:.2f}",
        "" if line["published"] is None else f"{line['published']:.2f}",
        "" if line["difference"] is None else signed(line["difference"]) + mark,
        "" if line["gain"] is None else signed(line["gain"]),
        "" if low is None else f"{signed(low)} … {signed(high)}",
        "" if line["published_gain"] is None else signed(line["published_gain"]),
        "" if line["ms_per_image"] is None else f"{line['ms_per_image']:.3g}",
        quantity(line["multiply_adds"]) if plain else times(line["multiply_adds_ratio"]),
    )


def _differences(result: Mapping[str, Any]) -> list[str]:
    """How an evaluation differs from the paper's."""
    found = []
    if result["published_weights"] != _WEIGHTS:
        found.append(f"other weights ({result['published_weights'] or 'of a file'} instead of {_WEIGHTS})")
    if result["images"] != result["test_images"]:
        found.append(f"a part of the images ({setting(result['images'])} of {setting(result['test_images'])})")
    return found


def _unlike(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One footnote for all that is marked with †."""
    told = dict.fromkeys(text for result in found.values() for text in _differences(result))
    return [f"† {', '.join(told)}."] if told else []


def _places(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    places = sorted({f"{result['device']}, {result['precision']}" for result in found.values()})
    return [f"Times on {'; '.join(places)}."] if places else []
