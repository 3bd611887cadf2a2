"""One evaluation as a table, beside the paper's Table 2."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ccnn.evaluation.record import EvaluationRecord, NetworkScore
from ccnn.files import shorter
from ccnn.report.format import fixed, interval, quantity, signed
from ccnn.report.paper import IMAGENET, SAMPLING
from ccnn.report.tables import Report, Table

WEIGHTS = "IMAGENET1K_V1"
"""torchvision's weights of 2018, which the paper scores."""


def present(record: EvaluationRecord, folder: Path) -> None:
    """Prints an evaluation and writes evaluation.md and evaluation.csv beside its evaluation.json.

    Raises:
        UserError: the folder cannot be written.
    """
    result = report(record)
    result.write(folder, "evaluation", ("md", "csv"))
    result.print()
    print(f"Written: {shorter(folder)}")


def published(record: EvaluationRecord, sampling: str | None) -> float | None:
    """The paper's error of a network, if its Table 2 has it on this data, sampled like this."""
    known = (record.library, record.data, record.classes) == ("torchvision_model", "imagenet", 1000)
    errors = IMAGENET.get(record.model)
    if not known or record.run or errors is None:
        return None
    if sampling is None:
        return errors.cnn
    return errors.ccnn if sampling in (SAMPLING, "lattice") else None


def report(record: EvaluationRecord) -> Report:
    """Tabulates an evaluation."""
    texts = pd.DataFrame([_texts(record, score) for score in record.networks])
    texts = texts.loc[:, (texts != "").any()]
    notes = [
        f"{record.shown}, batches of {record.batch_size}, {record.device}, {record.precision}",
        f"preprocessing: {record.preprocessing}",
        "[…]: 95 % intervals, of an error by Wilson's score; gain: images that the conversion puts right minus "
        "those it breaks, in percent, with a paired interval",
    ]
    if "paper" in texts:
        other = f"; these are {record.published_weights or 'of a file'}, so compare gains, not errors"
        notes.append(
            f"paper: Table 2, with torchvision's weights of 2018, {WEIGHTS}"
            f"{'' if record.published_weights == WEIGHTS else other}. Its one CCNN error per network stands "
            "beside naive and lattice."
        )
    if record.device == "cpu":
        notes.append("memory is measured on a GPU only")
    numbers = pd.DataFrame([_numbers(record, score) for score in record.networks], dtype=object)
    return Report([Table(record.title, texts, notes)], [], numbers)


def _texts(record: EvaluationRecord, score: NetworkScore) -> dict[str, str]:
    return {
        "network": score.network + (" (as trained)" if score.as_trained else ""),
        "top-1 error, %": f"{fixed(score.top1_error)}\n{interval(score.top1_interval, sign=False)}",
        "paper": fixed(published(record, score.sampling)),
        "top-5 error, %": f"{fixed(score.top5_error)}\n{interval(score.top5_interval, sign=False)}".strip(),
        "gain over the CNN": f"{signed(score.top1_gain)}\n{interval(score.top1_gain_interval)}".strip(),
        "ms per image": f"{score.ms_per_image:.3g}",
        "peak MiB": fixed(score.peak_memory_mib, 0),
        "multiply-adds": quantity(score.multiply_adds),
        "× plain": fixed(score.multiply_adds_ratio),
    }


def _numbers(record: EvaluationRecord, score: NetworkScore) -> dict[str, Any]:
    """A row of the CSV, numbers in full."""
    shared = ("model", "weights", "protocol", "data", "images", "batch_size", "device", "precision")
    row: dict[str, Any] = {key: getattr(record, key) for key in shared}
    for key, value in asdict(score).items():
        if key.endswith("_interval"):
            row[f"{key}_low"], row[f"{key}_high"] = value or (None, None)
        else:
            row[key] = value
    return row | {"published_top1_error": published(record, score.sampling)}
