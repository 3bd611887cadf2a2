"""Tables 2 and 3 are gathered beside the paper's numbers, in every format."""

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ccnn.errors import UserError
from ccnn.report.paper import IMAGENET, IMAGENET_NAMES
from ccnn.report.table2 import table2
from ccnn.report.table3 import table3
from scripts import report


def write_evaluation(folder: Path, model: str, cnn: float, ccnn: float, **changed: Any) -> None:
    """Writes what of an evaluation.json of Table 2 is read."""
    folder.mkdir(parents=True)
    paper = IMAGENET[model]

    def network(
        name: str, sampling: str | None, error: float, published: float | None, cost: int
    ) -> dict[str, Any]:
        gain = None if sampling is None else cnn - error
        return {
            "network": name,
            "sampling": sampling,
            "top1_error": error,
            "top1_gain": gain,
            "top1_gain_interval": None if gain is None else [gain - 0.2, gain + 0.2],
            "published_top1_error": published,
            "ms_per_image": 1.25,
            "peak_memory_mib": None,
            "multiply_adds": cost,
            "multiply_adds_ratio": cost / 1e9,
        }

    result = {
        "model": model,
        "library": "torchvision_model",
        "run": None,
        "data": "imagenet",
        "classes": 1000,
        "published_weights": "IMAGENET1K_V1",
        "images": 50_000,
        "test_images": 50_000,
        "device": "cpu",
        "precision": "32-true",
        "networks": [
            network("CNN", None, cnn, paper.cnn, 1_000_000_000),
            network("CCNN naive", "naive", ccnn, paper.ccnn, 14_000_000_000),
            network("CCNN complete", "complete", ccnn, None, 200_000_000_000),
        ],
    }
    (folder / "evaluation.json").write_text(json.dumps(result | changed))


def groups(folder: Path) -> dict[str, tuple[tuple[str, ...], ...]]:
    [sheet] = table2([folder]).sheets
    return {group.name: group.lines for group in sheet.groups}


def test_table2_sets_each_network_beside_the_papers(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", "resnet152", 21.69, 21.50)
    found = groups(tmp_path)
    assert list(found) == list(IMAGENET_NAMES.values())
    assert found["ResNet-152"] == (
        ("CNN", "21.69", "21.87", "−0.18", "", "", "", "1.25", "1.00 G"),
        ("CCNN naive", "21.50", "21.57", "−0.07", "+0.19", "−0.01 … +0.39", "+0.30", "1.25", "14.00 ×"),
        ("CCNN complete", "21.50", "", "", "+0.19", "−0.01 … +0.39", "", "1.25", "200.00 ×"),
    )
    assert found["FB-ResNet-152"] == (
        ("CNN", "–", "22.61", "", "", "", "", "", ""),
        ("CCNN", "–", "22.38", "", "", "", "+0.23", "", ""),
    )
    table = table2([tmp_path])
    assert table.notes == ("FB-ResNet-152: torchvision has no such network.",)
    assert table.sheets[0].notes == ("Times on cpu, 32-true.",)
    row = next(row for row in table.rows if row["network"] == "CCNN naive")
    assert (row["difference"], row["gain"], row["published_gain"]) == pytest.approx((-0.07, 0.19, 0.30))
    assert (row["images"], row["multiply_adds"]) == (50_000, 14_000_000_000)


def test_table2_marks_other_weights_and_fewer_images(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", "resnet50", 19.15, 19.5, published_weights="IMAGENET1K_V2", images=1000)
    assert groups(tmp_path)["ResNet-50"][0][3] == "−4.72†"
    assert table2([tmp_path]).sheets[0].notes[0] == (
        "† other weights (IMAGENET1K_V2 instead of IMAGENET1K_V1), a part of the images (1,000 of 50,000)."
    )


def test_table2_takes_the_newest_and_nothing_foreign(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", "vgg11", 30.0, 31.0)
    write_evaluation(tmp_path / "b", "vgg11", 32.0, 33.0)
    write_evaluation(tmp_path / "c", "alexnet", 1.0, 1.0, data="digits")
    write_evaluation(tmp_path / "d", "vgg19", 1.0, 1.0, run="outputs/runs/mine")
    found = groups(tmp_path)
    assert [found[name][0][1] for name in ("VGG-11", "AlexNet", "VGG-19")] == ["32.00", "–", "–"]
    told = " ".join(table2([tmp_path]).notes)
    assert f"VGG-11: several evaluations, the newest counts, {tmp_path / 'b'}." in told
    assert told.count("left out") == 2


def write_table3(folder: Path, batch: int = 4) -> None:
    """Writes a table3.csv as `task=benchmark` does, of two tasks, the dilated network having found no memory."""
    times = {"original": 0.1, "dilated": None, "checkered, naive": 1.0, "checkered, lattice": 1.1}
    rows = []
    for task in ("inference", "training"):
        for form, seconds in times.items():
            cost = 1.0 if form == "original" else 10.0
            line: dict[str, Any] = {"network": "resnet152", "task": task, "form": form, "batch": batch}
            line |= {"time, s": seconds, "multiply-adds, G": cost, "memory, MB": 500 * cost, "rounds": 7}
            line["note"] = None if seconds else "not run: needs 10.1 GB"
            rows.append(line)
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "table3.csv", index=False)


def test_table3_sets_each_form_beside_the_papers(tmp_path: Path) -> None:
    write_table3(tmp_path / "sweep" / "a")
    table = table3([tmp_path])
    inference, training = table.sheets
    assert (inference.title, training.title) == (
        "Table 3: inference, batches of 4",
        "Table 3: training, batches of 4",
    )
    lines = {group.name: group.lines for group in inference.groups}
    assert list(lines) == ["SqueezeNet-1.1", "ResNet-152", "DenseNet-169"]
    assert lines["ResNet-152"] == (
        ("original", "0.1", "1.00 ×", "0.5", "1.00 ×", "1", "1.00 ×", "0.02", "1.00 ×", "0.9", "1.00 ×"),
        ("dilated", "not run", "", "5", "10.00 ×", "10", "10.00 ×", "3.6", "180.00 ×", "10.1", "11.22 ×"),
        ("checkered, naive", "1", "10.00 ×", "5", "10.00 ×", "10", "10.00 ×", "0.25", "12.50 ×", "1.2", "1.33 ×"),
        ("checkered, lattice", "1.1", "11.00 ×", "5", "10.00 ×", "10", "10.00 ×", "", "", "", ""),
    )
    assert lines["SqueezeNet-1.1"][0] == ("original", "–", "", "", "", "", "", "0.007", "1.00 ×", "0.6", "1.00 ×")
    assert inference.notes == ("ResNet-152, dilated: not run: needs 10.1 GB.",)
    assert {line[7] for group in training.groups for line in group.lines} == {""}


def test_table3_of_other_batches_stands_beside_nothing(tmp_path: Path) -> None:
    write_table3(tmp_path / "quick", batch=1)
    small, missing, _ = table3([tmp_path]).sheets
    assert small.title == "Table 3: inference, batches of 1"
    assert {line[7] for group in small.groups for line in group.lines} == {""}
    assert {line[1] for group in missing.groups for line in group.lines} == {"–"}


@pytest.mark.parametrize("table", ["table2", "table3"])
@pytest.mark.parametrize(("form", "start"), [("rich", "Table "), ("markdown", "## Table "), ("latex", "% needs")])
def test_every_format_and_the_files(
    table: str,
    form: str,
    start: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_evaluation(tmp_path / "in" / "a", "resnet152", 21.69, 21.50)
    write_table3(tmp_path / "in" / "b")
    out = tmp_path / "out"

    def call(form: str) -> str:
        words = ["report.py", str(tmp_path / "in"), "--table", table, "--format", form, "--output", str(out)]
        monkeypatch.setattr(sys, "argv", words)
        report.main()
        return capsys.readouterr().out

    printed = call(form)
    assert printed.startswith(start)
    assert "ResNet-152" in printed
    assert max(map(len, printed.splitlines())) <= 120 or form != "rich"
    rows = list(csv.DictReader(StringIO(call("csv"))))
    assert {"resnet152", "squeezenet1_1"} <= {row.get("model") or row["network"] for row in rows}
    assert {path.name for path in out.iterdir()} == {"table.md", "table.csv", "table.tex"}
    assert list(csv.DictReader(StringIO((out / "table.csv").read_text()))) == rows
    assert "ResNet-152" in (out / "table.tex").read_text()


@pytest.mark.parametrize(("gather", "name"), [(table2, "evaluation.json"), (table3, "table3.csv")])
def test_damaged_files_are_named(gather: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"model": 1}')
    (tmp_path / "table3.csv").write_text("network,task\na,b\n")
    with pytest.raises(UserError, match=f"{name}: cannot be read as"):
        gather([tmp_path])
