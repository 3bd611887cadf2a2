"""The tables of trained networks show each cell, and their notes say what sets it apart."""

from pathlib import Path

import pytest
from report_runs import arranged, write_run

from ccnn.report.paper import IMAGENET, INFERENCE, NAMES, TABLES, Column, published
from ccnn.report.tables import Table
from ccnn.report.trained import LEGEND, report


def tables(folder: Path, name: str | None = None) -> list[Table]:
    table = TABLES[name] if name else None
    return list(report(arranged(folder, name), table).tables)


def column(table: Table, name: str) -> dict[str, str]:
    """The texts of a column below the last heading, by network."""
    return dict(zip(table.cells["network"], table.cells[name], strict=True))


class TestPublished:
    """Values copied by hand from the paper's tables."""

    @pytest.mark.parametrize(
        ("model", "data", "augment", "expected"),
        [
            ("densenet_bc40", "cifar10", "none", (9.13, 7.77)),
            ("densenet_bc121", "cifar10", "standard", (4.19, 3.95)),
            ("resnet18", "cifar10", "none", (12.81, 9.90)),
            ("resnet50", "cifar100", "standard", (24.75, 22.21)),
            ("vgg11_bn", "cifar10", "standard", (8.23, 7.47)),
            ("wide_resnet28_10", "cifar100", "standard", (18.89, 18.74)),
            ("wide_resnet28_10_2x3x3", "cifar10", "standard", (None, 3.51)),
            ("resnet18_tiny", "cifar100", "standard", (26.74, 25.68)),
            ("resnet50_tiny", "cifar100", "standard", (26.12, 24.17)),
            ("toy", "mnist", "shift", (0.42, 0.38)),
            ("toy_2x3x3", "mnist", "standard", (None, 0.25)),
            ("wide_resnet28_10", "cifar10", "none", None),
            ("resnet18", "fashion_mnist", "standard", None),
            ("resnet34", "cifar10", "standard", None),
        ],
    )
    def test_errors(
        self, model: str, data: str, augment: str, expected: tuple[float | None, float] | None
    ) -> None:
        assert published(model, Column(data, augment)) == expected

    @pytest.mark.parametrize(
        ("table", "sums"),
        [("table1", (100.52, 68.84, 292.30)), ("table7", (200.32,)), ("table8", (1.22, 1.15, 0.83))],
    )
    def test_columns_add_up(self, table: str, sums: tuple[float, ...]) -> None:
        columns = zip(*TABLES[table].errors.values(), strict=True)
        assert [sum(error or 0 for pair in column for error in pair or ()) for column in columns] == (
            pytest.approx(sums)
        )

    def test_tables_agree_with_each_other_and_have_names(self) -> None:
        for table in TABLES.values():
            for model, errors in table.errors.items():
                assert model in NAMES
                assert errors == tuple(published(model, column) for column in table.columns)

    def test_pretrained(self) -> None:
        assert len(IMAGENET) == 14
        assert [sum(errors) for errors in zip(*IMAGENET.values(), strict=True)] == pytest.approx([406.55, 406.61])
        for model, costs in INFERENCE.items():  # Table 3 repeats errors of Table 2
            assert costs["original"].error == IMAGENET[model].cnn
            assert costs["checkered"].error == IMAGENET[model].ccnn
        assert INFERENCE["resnet152"]["dilated"] == (3.60, 10.1, 21.60)


def test_a_line_shows_error_gain_interval_and_cost(tmp_path: Path) -> None:
    for seed, gain in enumerate((0.4, 0.5, 0.6)):
        write_run(tmp_path / f"cnn{seed}", 6.0, seed=seed)
        write_run(tmp_path / f"ccnn{seed}", 6.0 - gain, seed=seed, convert=True, seconds=7200)
    [table] = tables(tmp_path)
    assert table.title == (
        "C10 (CIFAR-10, shifted and flipped) · protocol=paper: best test epoch · 300 epochs · 50,000 training "
        "images · batches of 64"
    )
    # Student's quantile for 3 pairs is 4.3027: 4.3027 · 0.1 / √3 = 0.25
    assert table.cells.to_numpy().tolist() == [
        ["ResNet-18", "", "", "", "", "", "", ""],
        ["CNN", "6.00 ± 0.00 (3)", "", "5.49", "+0.51", "", "1.00 G", "1.0 h"],
        ["CCNN naive", "5.50 ± 0.10 (3)", "+0.50 ± 0.10 (3)\n[+0.25 … +0.75]", "4.90", "+0.60", "+0.59", "3.00 ×",
         "2.00 ×"],
    ]  # fmt: skip
    assert table.notes == ["Parameters: ResNet-18 11,173,962 (paper: 11.2 M).", LEGEND]


def test_equal_compute_has_columns_and_a_note_and_comparisons_are_counted(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"cnn{seed}", 8.0 + seed, seed=seed, data="digits")
        write_run(tmp_path / f"longer{seed}", 6.0 + seed, seed=seed, data="digits", epochs=900)
        write_run(tmp_path / f"ccnn{seed}", 5.5 + seed, seed=seed, data="digits", convert=True)
    [table] = tables(tmp_path)
    assert column(table, "gain at equal compute [95 %]")["CCNN naive"] == "+0.50 ± 0.00 (3)\n[+0.50 … +0.50]"
    assert column(table, "training compute")["CNN, 900 epochs"] == "3.00 ×"
    assert "paper" not in table.cells
    notes = "\n".join(table.notes)
    assert "Equal compute, training multiply-adds within 5 %: CCNN naive with CNN, 900 epochs." in notes
    assert "3 intervals of gains: by chance alone, one in 20" in notes


def test_a_cell_with_fewer_seeds_than_others_says_so(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"cnn{seed}", 5.0, seed=seed)
        if seed:
            write_run(tmp_path / f"ccnn{seed}", 4.0 + seed, seed=seed, convert=True)
    errors = column(tables(tmp_path)[0], "test error, %")
    assert (errors["CNN"], errors["CCNN naive"]) == ("5.00 ± 0.00 (3)", "5.50 ± 0.71 (2 of 3)")


def test_failed_and_running_ones_show(tmp_path: Path) -> None:
    write_run(tmp_path / "a0", 6.0)
    write_run(tmp_path / "a1", state="failed", problem="CUDA out of memory.", seed=1)
    for seed in (0, 1):
        write_run(tmp_path / f"b{seed}", state="failed", seed=seed, convert=True)
    write_run(tmp_path / "b2", state="interrupted", seed=2, convert=True)
    (write_run(tmp_path / "d", model="resnet50", convert=True) / "status.json").unlink()
    [table] = tables(tmp_path)
    assert list(table.cells["test error, %"]) == [
        *("", "6.00 (1)\nfailed (1 of 2)", "failed (2 of 3)\ninterrupted (1 of 3)"),
        *("", "unfinished"),
    ]
    assert f"ResNet-18, CNN, seed 1: failed: CUDA out of memory ({tmp_path / 'a1'})." in table.notes


@pytest.mark.parametrize(
    ("one", "other", "note"),
    [
        ({"epochs": 30, "lr": 0.2}, {"epochs": 30, "lr": 0.2},
         "† other number of epochs than the paper's (30 instead of 300), other learning rate (0.2 instead of "
         "0.1)."),
        ({"settings": {"trainer.limit_test_batches": 4}}, {"settings": {"trainer.limit_test_batches": 4}},
         "ResNet-18, CNN: scored on a part of the test set (trainer.limit_test_batches=4), so the paper's error "
         "does not stand beside it."),
        ({}, {"gpus": ["A100"]}, "‡ training times of different machines."),
        ({}, {"commit": "b" * 40}, "§ runs of several commits, or of a working tree with uncommitted changes."),
        ({"changed": True}, {}, "§ runs of several commits, or of a working tree with uncommitted changes."),
        ({"trained_epochs": 9}, {}, "ResNet-18, CNN: 1 stopped early, after 9 epochs."),
    ],
)  # fmt: skip
def test_what_sets_cells_apart_is_marked_and_noted(one: dict, other: dict, note: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0, **one)
    write_run(tmp_path / "b", 5.0, convert=True, **other)
    [table] = tables(tmp_path)
    assert note in table.notes
    mark = note[0] if note[0] in "†‡§" else ""
    assert mark in "".join(table.cells.loc[2])
    (tmp_path / "same").mkdir()
    write_run(tmp_path / "same" / "a", 6.0)
    write_run(tmp_path / "same" / "b", 5.0, convert=True)
    assert note not in tables(tmp_path / "same")[0].notes


def test_runs_of_several_commits_are_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 5.0)
    write_run(tmp_path / "b", 5.0, seed=1, commit="b" * 40)
    assert report(arranged(tmp_path)).notes == [
        "The runs are of several commits: aaaaaaaaaaaa (1), bbbbbbbbbbbb (1)."
    ]


def test_the_papers_counts_of_parameters_are_of_10_classes(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 25.0, model="resnet50", data="cifar100", parameters=23_705_252)
    assert tables(tmp_path)[0].notes[0] == (
        "Parameters: ResNet-50 23,705,252 (paper: 23.5 M). The paper counts those of ResNets with 10 classes."
    )


def test_missing_cells_show_beside_published_values(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", 6.0, data="digits")
    shown = tables(tmp_path, "table1")
    assert [table.title.partition(" (")[0] for table in shown] == ["C10*", "C10", "C100"]
    assert shown[0].title.endswith("no runs")
    cells: dict[tuple[str, str, str], tuple[str, str]] = {}
    for table, name in zip(shown, ("C10*", "C10", "C100"), strict=True):
        model = ""
        for row in table.cells.to_dict("records"):
            model = model if row["test error, %"] else row["network"]
            if row["test error, %"]:
                cells[name, model, row["network"]] = row["test error, %"], row["paper"]
    assert len(cells) == 2 * (5 + 6 + 6) + 1  # every value of Table 1
    assert cells["C10", "ResNet-18", "CNN"] == ("6.00 (1)", "5.49")
    assert cells["C10", "ResNet-18", "CCNN naive"] == ("–", "4.90")
    assert cells["C100", "VGG-11-BN", "CNN"] == ("–", "29.93")
    assert cells["C10", "Wide-ResNet-28x10 + 2×3×3", "CCNN naive"] == ("–", "3.51")
    assert arranged(tmp_path, "table1").general == [
        "Left out: 1 of 2 runs, of no model and data set of this table."
    ]


def test_table8_has_what_is_published_besides(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.4, model="toy", data="mnist", augment="shift")
    none, shift, _ = tables(tmp_path, "table8")
    assert shift.title.startswith("MNIST, shift ·")
    assert "Published besides: CapsNet with reconstruction, 8.2 M parameters: 0.25 %." in shift.notes
    assert not any("CapsNet" in note for note in none.notes)


def test_data_keep_the_papers_order_and_others_follow(tmp_path: Path) -> None:
    for data in ("digits", "cifar100", "mnist", "cifar10"):
        write_run(tmp_path / data, 6.0, data=data)
    assert [block.data for block in arranged(tmp_path).blocks] == ["cifar10", "cifar100", "mnist", "digits"]
