"""Evaluations of several seeds become one table."""

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from experiments import Run

from ccnn.errors import UserError
from ccnn.report.conversions import gather, markdown, summaries, table
from scripts import conversions


def write(folder: Path, seed: int, plain: float, converted: float) -> None:
    """Writes what of an evaluation.json is read."""
    folder.mkdir(parents=True)
    shared = {"multiply_adds_ratio": 1.6, "ms_per_image": 1.0}
    networks: list[dict[str, Any]] = [
        {"network": "CNN", "top1_error": plain, "top1_gain": None, **shared},
        {"network": "CCNN naive", "top1_error": converted, "top1_gain": plain - converted, **shared},
    ]
    config = {"seed": seed, "trainer": {"max_epochs": 10}, "data": {}}
    result = {"data": "digits", "model": "toy", "images": 500, "run": "a", "config": config, "networks": networks}
    (folder / "evaluation.json").write_text(json.dumps(result))


def test_gains_are_paired_by_seed(tmp_path: Path) -> None:
    for seed, (plain, converted) in enumerate(((10.0, 11.0), (12.0, 14.0), (14.0, 17.0))):
        write(tmp_path / str(seed), seed, plain, converted)
    plain_line, line = summaries(gather([tmp_path]))
    assert (plain_line["gain"], plain_line["error"].mean, plain_line["seeds"]) == (None, 12.0, "0 1 2")
    assert (line["gain"].mean, line["gain"].std) == pytest.approx((-2.0, 1.0))
    text = markdown([plain_line, line])
    assert "| CNN | 12.00 ± 2.00 (3) |" in text
    assert "−2.00 ± 1.00 (3) | −4.48 … +0.48 | 1.60 × |" in text
    rows = list(csv.DictReader(StringIO(table([plain_line, line]))))
    assert (float(rows[1]["gain"]), rows[0]["gain"]) == (-2.0, "")


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no evaluation"):
        gather([tmp_path])
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as an evaluation"):
        gather([tmp_path])


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
    assert "border=replicate" in (tmp_path / "report" / "conversions.md").read_text()
