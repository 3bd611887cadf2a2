"""Evaluations of networks with given weights as tables, beside the paper's Table 2."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.evaluation.record import RESULT, EvaluationRecord
from ccnn.files import shorter
from ccnn.report.format import fixed, interval, quantity, setting, signed, times
from ccnn.report.paper import IMAGENET, IMAGENET_NAMES, SAMPLING
from ccnn.report.tables import MISSING, Report, Table, find_files, grouped

WEIGHTS = "IMAGENET1K_V1"
"""torchvision's weights of 2018, which the paper scores."""

_LEGEND = (
    "[…]: 95 % intervals, of an error by Wilson's score; gain: images that the conversion puts right minus those "
    "it breaks, in percent, with a paired interval; × is over the CNN."
)
_PAPER = "paper: Table 2; its one CCNN error per network stands beside naive and lattice."


def present(record: EvaluationRecord, folder: Path) -> None:
    """Prints an evaluation and writes evaluation.md and evaluation.csv beside its evaluation.json.

    Raises:
        UserError: the folder cannot be written.
    """
    result = report(record)
    result.write(folder, "evaluation", ("md", "csv"))
    result.print()
    print(f"Written: {shorter(folder)}")


def report(record: EvaluationRecord) -> Report:
    """Tabulates one evaluation."""
    rows = numbers(record)
    notes = [
        f"{record.shown}, batches of {record.batch_size}, {record.device}, {record.precision}",
        f"preprocessing: {record.preprocessing}",
        *(["memory is measured on a GPU only"] if record.device == "cpu" else []),
    ]
    return Report([_table(record.title, rows, notes)], [], pd.DataFrame(rows, dtype=object))


def table2(folders: Sequence[Path]) -> Report:
    """The paper's Table 2 from the evaluation.json files in and below some folders.

    Raises:
        UserError: there is none, or one of them cannot be read.
    """
    records: dict[str, EvaluationRecord] = {}
    notes: list[str] = []
    for path in find_files(folders, RESULT, "python train.py -m experiment=table2"):
        record = EvaluationRecord.read(path)
        if published(record, None) is None:
            notes.append(f"{path}: left out; {record.model} on {record.data} is not of Table 2.")
            continue
        if record.model in records:
            notes.append(f"{IMAGENET_NAMES[record.model]}: several evaluations, the newest counts, {path.parent}.")
        records[record.model] = record
    if "fb_resnet152" not in records:
        notes.append(f"{IMAGENET_NAMES['fb_resnet152']}: torchvision has no such network.")
    rows = [
        row for model in IMAGENET for row in (numbers(records[model]) if model in records else _missing(model))
    ]
    places = sorted({f"{record.device}, {record.precision}" for record in records.values()})
    table = _table(
        "Table 2: ImageNet, top-1 error, single crop, converted without training",
        rows,
        [f"Times on {'; '.join(places)}."] if places else [],
        headings=True,
    )
    return Report([table], notes, pd.DataFrame(rows))


def published(record: EvaluationRecord, sampling: str | None) -> float | None:
    """The paper's error of a network, if its Table 2 has it on this data, sampled like this."""
    known = (record.library, record.data, record.classes) == ("torchvision_model", "imagenet", 1000)
    errors = IMAGENET.get(record.model)
    if not known or record.run or errors is None:
        return None
    if sampling is None:
        return errors.cnn
    return errors.ccnn if sampling in (SAMPLING, "lattice") else None


def numbers(record: EvaluationRecord) -> list[dict[str, Any]]:
    """A row for each network, in full: what was scored, its scores, and the paper's error and gain."""
    shared = ("model", "weights", "protocol", "data", "images", "batch_size", "device", "precision")
    rows = []
    for score in record.networks:
        row: dict[str, Any] = {key: getattr(record, key) for key in shared}
        for key, value in asdict(score).items():
            if key.endswith("_interval"):
                row[f"{key}_low"], row[f"{key}_high"] = value or (None, None)
            else:
                row[key] = value
        paper = published(record, score.sampling)
        row["published_top1_error"] = paper
        row["difference"] = None if paper is None else score.top1_error - paper
        row["published_gain"] = IMAGENET[record.model].gain if paper is not None and score.sampling else None
        row["unlike_paper"] = None if paper is None else "; ".join(_differences(record))
        rows.append(row)
    return rows


def _missing(model: str) -> list[dict[str, Any]]:
    """The rows of a network of the paper's that was not scored."""
    paper = IMAGENET[model]
    return [
        {"model": model, "network": "CNN", "published_top1_error": paper.cnn},
        {"model": model, "network": "CCNN", "published_top1_error": paper.ccnn, "published_gain": paper.gain},
    ]


def _differences(record: EvaluationRecord) -> list[str]:
    """How an evaluation differs from the paper's."""
    differences = []
    if record.published_weights != WEIGHTS:
        differences.append(f"other weights ({record.published_weights or 'of a file'} instead of {WEIGHTS})")
    if record.images != record.test_images:
        part = f"{setting(record.images)} of {setting(record.test_images)}"
        differences.append(f"a part of the images ({part})")
    return differences


def _table(title: str, rows: list[dict[str, Any]], notes: list[str], headings: bool = False) -> Table:
    """A line for each row; what no row has is no column."""
    texts = pd.DataFrame([_texts(row) for row in rows])
    texts = texts.loc[:, (texts != "").any()]
    unlike = dict.fromkeys(row["unlike_paper"] for row in rows if row.get("unlike_paper"))
    marks = [f"† {', '.join(unlike)}: compare gains, not errors."] if unlike else []
    if headings:
        texts.insert(0, "model", [IMAGENET_NAMES[row["model"]] for row in rows])
        texts = grouped(texts)
    return Table(title, texts, [*marks, *notes, _LEGEND, *([_PAPER] if "paper" in texts else [])])


def _texts(row: dict[str, Any]) -> dict[str, str]:
    value = row.get
    bounds = {name: (value(f"{name}_low"), value(f"{name}_high"))
              for name in ("top1_interval", "top5_interval", "top1_gain_interval")}  # fmt: skip
    error = f"{fixed(value('top1_error'))}\n{interval(bounds['top1_interval'], sign=False)}".strip()
    return {
        "network": row["network"] + (" (as trained)" if value("as_trained") else ""),
        "top-1 error, %": error or MISSING,
        "paper": fixed(value("published_top1_error")),
        "difference": signed(value("difference")) + ("†" if value("unlike_paper") else ""),
        "top-5 error, %": f"{fixed(value('top5_error'))}\n{interval(bounds['top5_interval'], sign=False)}".strip(),
        "gain over the CNN": f"{signed(value('top1_gain'))}\n{interval(bounds['top1_gain_interval'])}".strip(),
        "paper's gain": signed(value("published_gain")),
        "ms per image": "" if value("ms_per_image") is None else f"{value('ms_per_image'):.3g}",
        "peak MiB": fixed(value("peak_memory_mib"), 0),
        "multiply-adds": quantity(value("multiply_adds"))
        if row["network"] == "CNN"
        else times(value("multiply_adds_ratio")),
    }
