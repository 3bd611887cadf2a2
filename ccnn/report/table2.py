"""The paper's Table 2, pretrained networks converted without training, from evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.errors import UserError
from ccnn.evaluation.record import RESULT, EvaluationRecord
from ccnn.report.evaluation import WEIGHTS, published
from ccnn.report.format import fixed, interval, quantity, setting, signed, times
from ccnn.report.paper import IMAGENET, IMAGENET_NAMES
from ccnn.report.tables import MISSING, Report, Table, grouped

_LEGEND = (
    "One pass over the images, no training. Differences and gains are percentage points; […] is the 95 % interval "
    "of the paired comparison; × is over the CNN. The paper's one CCNN error stands beside naive and lattice."
)


def files(folders: Sequence[Path], name: str, command: str) -> list[Path]:
    """The files of a name in and below some folders, the newest last.

    Raises:
        UserError: a folder does not exist, or there is no such file.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected one that {command} wrote.")
    found = {path.resolve(): path for folder in folders for path in folder.rglob(name)}
    if not found:
        raise UserError(
            f"{', '.join(map(str, folders))}: contains no {name}, nor do the folders below; {command} writes them."
        )
    return sorted(found.values(), key=lambda path: (path.stat().st_mtime, str(path)))


def table2(folders: Sequence[Path]) -> Report:
    """Table 2 from the evaluation.json files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    found: dict[str, EvaluationRecord] = {}
    notes: list[str] = []
    for path in files(folders, RESULT, "python train.py -m experiment=table2"):
        record = EvaluationRecord.read(path)
        if published(record, None) is None:
            notes.append(f"{path}: left out; {record.model} on {record.data} is not of Table 2.")
            continue
        if record.model in found:
            notes.append(f"{IMAGENET_NAMES[record.model]}: several evaluations, the newest counts, {path.parent}.")
        found[record.model] = record
    rows = [row for model in IMAGENET for row in _rows(model, found.get(model))]
    texts = pd.DataFrame([_texts(row) for row in rows])
    unlike = dict.fromkeys(text for record in found.values() for text in _differences(record))
    places = sorted({f"{record.device}, {record.precision}" for record in found.values()})
    below = [f"† {', '.join(unlike)}."] if unlike else []
    below += [f"Times on {'; '.join(places)}."] if places else []
    if "fb_resnet152" not in found:
        notes.append(f"{IMAGENET_NAMES['fb_resnet152']}: torchvision has no such network.")
    title = "Table 2: ImageNet, top-1 error, single crop, converted without training"
    return Report([Table(title, grouped(texts), [*below, _LEGEND])], notes, pd.DataFrame(rows))


def _rows(model: str, record: EvaluationRecord | None) -> list[dict[str, Any]]:
    """A network's rows of the CSV: as it was scored, or what the paper has."""
    paper = IMAGENET[model]
    if record is None:
        return [
            {"model": model, "network": "CNN", "published": paper.cnn},
            {"model": model, "network": "CCNN", "published": paper.ccnn, "published_gain": paper.gain},
        ]
    rows = []
    for score in record.networks:
        known = published(record, score.sampling)
        low, high = score.top1_gain_interval or (None, None)
        rows.append({
            "model": model,
            "network": score.network,
            "top1_error": score.top1_error,
            "published": known,
            "difference": None if known is None else score.top1_error - known,
            "gain": score.top1_gain,
            "gain_low": low,
            "gain_high": high,
            "published_gain": paper.gain if known is not None and score.sampling else None,
            **{key: value for key, value in asdict(score).items() if key in _COSTS},
            **{key: getattr(record, key) for key in ("published_weights", "images", "device", "precision")},
            "unlike_paper": "; ".join(_differences(record)),
        })  # fmt: skip
    return rows


_COSTS = ("ms_per_image", "peak_memory_mib", "multiply_adds", "multiply_adds_ratio")


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    bounds = (row.get("gain_low"), row.get("gain_high"))
    plain, ms = row["network"] == "CNN", row.get("ms_per_image")
    return {
        "model": IMAGENET_NAMES[row["model"]],
        "network": row["network"],
        "top-1 error, %": fixed(row.get("top1_error")) or MISSING,
        "paper": fixed(row["published"]),
        "difference": signed(row.get("difference"))
        + ("†" if row.get("unlike_paper") and row["published"] else ""),
        "gain over the CNN [95 %]": f"{signed(row.get('gain'))}\n{interval(bounds)}".strip(),
        "paper's gain": signed(row.get("published_gain")),
        "ms per image": "" if ms is None else f"{ms:.3g}",
        "multiply-adds": quantity(row.get("multiply_adds")) if plain else times(row.get("multiply_adds_ratio")),
    }


def _differences(record: EvaluationRecord) -> list[str]:
    """How an evaluation differs from the paper's."""
    found = []
    if record.published_weights != WEIGHTS:
        found.append(f"other weights ({record.published_weights or 'of a file'} instead of {WEIGHTS})")
    if record.images != record.test_images:
        found.append(f"a part of the images ({setting(record.images)} of {setting(record.test_images)})")
    return found
