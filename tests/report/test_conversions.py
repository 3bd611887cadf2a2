"""Evaluations of several seeds become one table."""

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from experiments import Run
from report_runs import write_run

from ccnn.errors import UserError
from ccnn.report.conversions import Line, markdown, summaries, table
from ccnn.report.folders import gather
from ccnn.report.table2 import table2
from scripts import conversions


def write(folder: Path, plain: float, converted: float, images: int = 500, **trained: Any) -> None:
    """Writes a run, and what of its evaluation.json is read."""
    folder = write_run(folder, plain, **trained) / "conversions"
    folder.mkdir()
    networks: list[dict[str, Any]] = [
        {"network": "CNN", "top1_error": plain, "top1_gain": None, "multiply_adds_ratio": 1.0},
        {
            "network": "CCNN naive",
            "top1_error": converted,
            "top1_gain": plain - converted,
            "multiply_adds_ratio": 1.6,
        },
    ]
    (folder / "evaluation.json").write_text(json.dumps({"images": images, "networks": networks}))


def found(folder: Path) -> list[Line]:
    lines, notes = summaries(gather([folder])[0])
    assert notes == []
    return lines


def test_gains_are_paired_by_seed(tmp_path: Path) -> None:
    for seed, (plain, converted) in enumerate(((10.0, 11.0), (12.0, 14.0), (14.0, 17.0))):
        write(tmp_path / str(seed), plain, converted, seed=seed, model="toy", data="digits", epochs=10)
    plain_line, line = found(tmp_path)
    assert (plain_line["gain"], plain_line["error"].mean, plain_line["seeds"]) == (None, 12.0, "0 1 2")
    assert (line["gain"].mean, line["gain"].std) == pytest.approx((-2.0, 1.0))
    text = markdown([plain_line, line], [])
    assert "| CNN | 12.00 ± 2.00 (3) |" in text
    assert "−2.00 ± 1.00 (3) | −4.48 … +0.48 | 1.60 × |" in text
    rows = list(csv.DictReader(StringIO(table([plain_line, line]))))
    assert (float(rows[1]["gain"]), rows[0]["gain"], rows[0]["protocol"]) == (-2.0, "", "paper")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"protocol": "honest"}, "protocol=honest"),
        ({"augment": "none"}, "C10* (CIFAR-10 without augmentation)"),
        ({"train_images": 45_000}, "45,000 training images"),
        ({"epochs": 30}, "30 epochs"),
        ({"lr": 0.5}, "ResNet-18 optimizer.lr=0.5 on"),
        ({"images": 2000}, "2,000 test images"),
    ],
)
def test_what_was_trained_or_scored_in_another_way_is_not_averaged(
    other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path / "a", 5.0, 6.0)
    write(tmp_path / "b", 9.0, 9.5, seed=1, **other)
    lines = found(tmp_path)
    assert sorted(line["error"].mean for line in lines) == [5.0, 6.0, 9.0, 9.5]
    headings = [line for line in markdown(lines, []).splitlines() if line.startswith("## ")]
    assert len(set(headings)) == len(headings) == 2
    assert sum(said in heading for heading in headings) == 1


def test_mistakes_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", 5.0)
    runs, _ = gather([tmp_path])
    with pytest.raises(UserError, match="cannot be read as an evaluation"):
        summaries(runs)
    (folder / "conversions").mkdir()
    (folder / "conversions" / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as an evaluation of this program: 'images'"):
        summaries(runs)


def test_trained_cnns_are_evaluated_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    [metrics] = tmp_path.rglob("metrics.json")
    words = [
        "conversions.py",
        str(metrics.parent),
        "sampling=naive",
        "limit=20",
        "--output",
        str(tmp_path / "report"),
    ]
    monkeypatch.setattr(sys, "argv", words)
    conversions.main()
    result = metrics.parent / "conversions" / "evaluation.json"
    written = result.stat().st_mtime_ns
    conversions.main()
    assert result.stat().st_mtime_ns == written
    assert "CCNN naive" in capsys.readouterr().out
    gathered = table2([tmp_path])  # reads what evaluations write
    assert gathered.notes[0] == f"{result}: left out; toy on digits is not of Table 2."
    assert {group.lines[0][1] for group in gathered.sheets[0].groups} == {"–"}
    assert "border=replicate" in (tmp_path / "report" / "conversions.md").read_text()
