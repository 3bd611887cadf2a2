"""Evaluations and measurements become tables beside the paper's numbers."""

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from evaluation_records import evaluation, score
from report_runs import write_run

from ccnn.cli import report as command
from ccnn.errors import UserError
from ccnn.evaluation.record import EvaluationRecord
from ccnn.report import conversions
from ccnn.report.evaluation import present, report, table2
from ccnn.report.paper import IMAGENET_NAMES
from ccnn.report.records import read_runs
from ccnn.report.table3 import table3
from ccnn.report.tables import Table


def write_evaluation(folder: Path, cnn: float, ccnn: float, **changed: Any) -> None:
    folder.mkdir(parents=True)
    networks = [score(None, cnn, cnn), score("naive", ccnn, cnn, 14_000_000_000), score("complete", ccnn, cnn)]
    evaluation(networks, **changed).write(folder)


def by_heading(table: Table) -> dict[str, list[list[str]]]:
    """The rows below each heading."""
    groups: dict[str, list[list[str]]] = {}
    heading = ""
    for row in table.cells.to_numpy().tolist():
        if any(row[1:]):
            groups[heading].append(row)
        else:
            heading = row[0]
            groups[heading] = []
    return groups


class TestEvaluation:
    def test_a_table_shows_errors_gains_and_intervals(self) -> None:
        record = evaluation([score(None, 21.69, 21.69), score("naive", 21.5, 21.69, 14_000_000_000)])
        [table] = report(record).tables
        assert table.title == "resnet152 (DEFAULT = IMAGENET1K_V1) on imagenet"
        assert [dict(row) for row in table.cells.to_dict("records")] == [
            {"network": "CNN", "top-1 error, %": "21.69\n[21.29 … 22.09]", "paper": "21.87", "difference": "−0.18",
             "gain over the CNN": "", "paper's gain": "", "ms per image": "1.25", "multiply-adds": "1.00 G"},
            {"network": "CCNN naive", "top-1 error, %": "21.50\n[21.10 … 21.90]", "paper": "21.57",
             "difference": "−0.07", "gain over the CNN": "+0.19\n[−0.01 … +0.39]", "paper's gain": "+0.30",
             "ms per image": "1.25", "multiply-adds": "14.00 ×"},
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("changed", "sampling", "published"),
        [
            ({}, "lattice", True),
            ({}, "naive skip_first=1", False),
            ({"published_weights": None}, "naive", True),
            ({"run": "outputs/runs/mine", "protocol": "paper"}, "naive", False),
            ({"data": "digits"}, "naive", False),
            ({"classes": 10}, "naive", False),
        ],
    )
    def test_the_papers_errors_stand_beside_the_networks_that_they_are_of(
        self, changed: dict[str, Any], sampling: str, published: bool
    ) -> None:
        result = report(evaluation([score(None, 21.69, 21.69), score(sampling, 21.5, 21.69)], **changed))
        [table] = result.tables
        assert ("paper" in table.cells and table.cells["paper"][1] == "21.57") == published
        assert (result.numbers["published_top1_error"][1] == 21.57) == published
        notes = " ".join(table.notes)
        assert ("† other weights (of a file instead of IMAGENET1K_V1): compare gains" in notes) == (
            "published_weights" in changed
        )
        assert ("protocol=paper" in table.title) == ("protocol" in changed)

    def test_files_hold_the_numbers_in_full(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        record = evaluation([score(None, 100 / 3, 100 / 3), score("naive", 30.0, 100 / 3)], protocol="honest")
        present(record, tmp_path)
        assert "| CNN | 33.33 \\[32.93 … 33.73\\] |" in (tmp_path / "evaluation.md").read_text()
        [plain, naive] = pd.read_csv(tmp_path / "evaluation.csv").to_dict("records")
        assert (plain["top1_error"], naive["top1_gain_interval_low"]) == pytest.approx((100 / 3, 10 / 3 - 0.2))
        assert (plain["protocol"], plain["images"]) == ("honest", 50_000)
        assert "CCNN naive" in capsys.readouterr().out

    def test_records_are_read_back_also_those_of_other_versions(self, tmp_path: Path) -> None:
        record = evaluation([score(None, 1.0, 1.0)])
        record.write(tmp_path)
        path = tmp_path / "evaluation.json"
        assert EvaluationRecord.read(path) == record
        content = json.loads(path.read_text())
        del content["protocol"]
        content["networks"][0]["published_top1_error"] = 21.87
        path.write_text(json.dumps(content))
        assert EvaluationRecord.read(path) == record
        del content["images"]
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match="cannot be read as an evaluation of this program: 'images'"):
            EvaluationRecord.read(path)


class TestTable2:
    def test_it_sets_each_network_beside_the_papers(self, tmp_path: Path) -> None:
        write_evaluation(tmp_path / "a", 21.69, 21.50)
        result = table2([tmp_path])
        [table] = result.tables
        groups = by_heading(table)
        assert list(groups) == list(IMAGENET_NAMES.values())
        gain = "+0.19\n[−0.01 … +0.39]"
        assert groups["ResNet-152"] == [
            ["CNN", "21.69\n[21.29 … 22.09]", "21.87", "−0.18", "", "", "1.25", "1.00 G"],
            ["CCNN naive", "21.50\n[21.10 … 21.90]", "21.57", "−0.07", gain, "+0.30", "1.25", "14.00 ×"],
            ["CCNN complete", "21.50\n[21.10 … 21.90]", "", "", gain, "", "1.25", "1.00 ×"],
        ]
        assert groups["FB-ResNet-152"] == [
            ["CNN", "–", "22.61", "", "", "", "", ""],
            ["CCNN", "–", "22.38", "", "", "+0.23", "", ""],
        ]
        assert result.notes == ["FB-ResNet-152: torchvision has no such network."]
        assert table.notes[0] == "Times on cpu, 32-true."
        [[_, row]] = result.numbers[result.numbers["network"] == "CCNN naive"].iterrows()
        assert list(row[["difference", "top1_gain", "published_gain"]]) == pytest.approx([-0.07, 0.19, 0.30])
        assert list(row[["images", "multiply_adds"]]) == [50_000, 14_000_000_000]

    def test_it_marks_other_weights_and_fewer_images(self, tmp_path: Path) -> None:
        changed = {"model": "resnet50", "published_weights": "IMAGENET1K_V2", "images": 1000}
        write_evaluation(tmp_path / "a", 19.15, 19.5, **changed)
        [table] = table2([tmp_path]).tables
        assert by_heading(table)["ResNet-50"][0][3] == "−4.72†"
        assert table.notes[0] == (
            "† other weights (IMAGENET1K_V2 instead of IMAGENET1K_V1); a part of the images (1,000 of 50,000): "
            "compare gains, not errors."
        )

    def test_it_takes_the_newest_and_nothing_foreign(self, tmp_path: Path) -> None:
        write_evaluation(tmp_path / "a", 30.0, 31.0, model="vgg11")
        write_evaluation(tmp_path / "b", 32.0, 33.0, model="vgg11")
        write_evaluation(tmp_path / "c", 1.0, 1.0, model="alexnet", data="digits")
        write_evaluation(tmp_path / "d", 1.0, 1.0, model="vgg19", run="outputs/runs/mine")
        result = table2([tmp_path])
        groups = by_heading(result.tables[0])
        assert [groups[name][0][1][:5] for name in ("VGG-11", "AlexNet", "VGG-19")] == ["32.00", "–", "–"]
        assert f"VGG-11: several evaluations, the newest counts, {tmp_path / 'b'}." in result.notes
        assert " ".join(result.notes).count("left out") == 2


def write_table3(folder: Path, batch: int = 4) -> None:
    """Writes what of a table3.csv is read, of two tasks; the dilated network did not fit into memory."""
    folder.mkdir(parents=True)
    times = {"original": 0.1, "dilated": None, "checkered, naive": 1.0, "checkered, lattice": 1.1}
    with (folder / "table3.csv").open("w") as file:
        writer = csv.writer(file)
        names = ("network", "task", "form", "batch", "time, s", "multiply-adds, G", "memory, MB", "note")
        writer.writerow(names)
        for task in ("inference", "training"):
            for form, seconds in times.items():
                cost = 1.0 if form == "original" else 10.0
                note = None if seconds else "not run: needs 10.1 GB"
                writer.writerow(("resnet152", task, form, batch, seconds, cost, 500 * cost, note))


class TestTable3:
    def test_it_sets_each_form_beside_the_papers(self, tmp_path: Path) -> None:
        write_table3(tmp_path / "sweep" / "a")
        inference, training = table3([tmp_path]).tables
        titles = (inference.title, training.title)
        assert titles == ("Table 3: inference, batches of 4", "Table 3: training, batches of 4")
        lines = by_heading(inference)
        assert list(lines) == ["SqueezeNet-1.1", "ResNet-152", "DenseNet-169"]
        ten = "10 (10.00 ×)"
        assert lines["ResNet-152"] == [
            ["original", "0.1 (1.00 ×)", "0.5 (1.00 ×)", "1 (1.00 ×)", "0.02 (1.00 ×)", "0.9 (1.00 ×)"],
            ["dilated", "not run", "5 (10.00 ×)", ten, "3.6 (180.00 ×)", "10.1 (11.22 ×)"],
            ["checkered, naive", "1 (10.00 ×)", "5 (10.00 ×)", ten, "0.25 (12.50 ×)", "1.2 (1.33 ×)"],
            ["checkered, lattice", "1.1 (11.00 ×)", "5 (10.00 ×)", ten, "", ""],
        ]
        assert lines["SqueezeNet-1.1"][0] == ["original", "–", "", "", "0.007 (1.00 ×)", "0.6 (1.00 ×)"]
        assert inference.notes[0] == "ResNet-152, dilated: not run: needs 10.1 GB."
        assert set(training.cells["paper: time, s"]) == {""}

    def test_other_batches_stand_beside_nothing(self, tmp_path: Path) -> None:
        write_table3(tmp_path / "quick", batch=1)
        small, missing, _ = table3([tmp_path]).tables
        assert small.title == "Table 3: inference, batches of 1"
        assert set(small.cells["paper: time, s"]) == {""}
        assert set(missing.cells["time, s"]) == {"", "–"}


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
    write_evaluation(tmp_path / "in" / "a", 21.69, 21.50)
    write_table3(tmp_path / "in" / "b")
    out = tmp_path / "out"
    words = ["report.py", str(tmp_path / "in"), "--table", table, "--format", form, "--output", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    printed = capsys.readouterr().out
    assert printed.startswith(start)
    assert "ResNet-152" in printed
    assert {path.name for path in out.iterdir()} == {"table.md", "table.csv", "table.tex"}
    rows = pd.read_csv(StringIO((out / "table.csv").read_text()))
    assert {"resnet152", "squeezenet1_1"} <= {*rows["model" if table == "table2" else "network"]}


@pytest.mark.parametrize(("gather", "name"), [(table2, "evaluation.json"), (table3, "table3.csv")])
def test_damaged_files_are_named(gather: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"model": 1}')
    (tmp_path / "table3.csv").write_text("network,task\na,b\n")
    with pytest.raises(UserError, match=f"{name}: cannot be read as"):
        gather([tmp_path])


class TestConversions:
    def write(self, folder: Path, plain: float, converted: float, images: int = 500, **trained: Any) -> None:
        folder = write_run(folder, plain, **trained) / "conversions"
        folder.mkdir()
        networks = [score(None, plain, plain), score("naive", converted, plain, 1_600_000_000)]
        evaluation(networks, images=images).write(folder)

    def report(self, folder: Path) -> Any:
        return conversions.report(conversions.trained_cnns(read_runs([folder])[0]))

    def test_gains_are_paired_by_seed(self, tmp_path: Path) -> None:
        for seed, (plain, converted) in enumerate(((10.0, 11.0), (12.0, 14.0), (14.0, 17.0))):
            self.write(tmp_path / str(seed), plain, converted, seed=seed, model="toy", data="digits", epochs=10)
        write_run(tmp_path / "ccnn", 5.0, convert=True, model="toy", data="digits", epochs=10)
        result = self.report(tmp_path)
        text = result.text("markdown")
        assert "## Tiny CNN (toy) on digits, augment=standard · " in text
        assert "| CNN | 12.00 ± 2.00 (3) |" in text
        assert "−2.00 ± 1.00 (3) | \\[−4.48 … +0.48\\] | 1.60 × |" in text
        plain, naive = pd.read_csv(StringIO(result.text("csv"))).to_dict("records")
        assert (plain["error"], plain["seeds"], plain["protocol"]) == (12.0, "0 1 2", "paper")
        assert (naive["gain"], naive["gain_std"]) == pytest.approx((-2.0, 1.0))
        assert pd.isna(plain["gain"])

    @pytest.mark.parametrize(
        ("other", "title"),
        [
            ({"protocol": "honest"}, "protocol=honest"),
            ({"epochs": 30}, "30 epochs"),
            ({"lr": 0.5}, "ResNet-18 optimizer.lr=0.5 on"),
            ({"images": 2000}, "2,000 test images"),
        ],
    )
    def test_what_was_trained_or_scored_differently_is_not_averaged(
        self, other: dict[str, Any], title: str, tmp_path: Path
    ) -> None:
        self.write(tmp_path / "a", 5.0, 6.0)
        self.write(tmp_path / "b", 9.0, 9.5, seed=1, **other)
        result = self.report(tmp_path)
        assert sorted(result.numbers["error"]) == [5.0, 6.0, 9.0, 9.5]
        assert sum(title in table.title for table in result.tables) == 1
        assert len({table.title for table in result.tables}) == 2
