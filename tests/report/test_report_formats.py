"""Each format of the report can be read back and says the same."""

import csv
import re
from io import BytesIO, StringIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from report_runs import write_curve, write_run
from rich.console import Console

from ccnn.report import compute_plot, curves, render, scatter, spreadsheets
from ccnn.report.curves import read_curves
from ccnn.report.files import write
from ccnn.report.folders import gather
from ccnn.report.format import duration, plus_minus, quantity, signed
from ccnn.report.group import Block, arrange
from ccnn.report.paper import TABLES
from ccnn.report.runs import Run
from ccnn.report.tables import HEADER, Sheet, sheet

UNKEMPT = "100 % of a_b & {c} #1 | x*y `z` ~ \\ $5^2 <i>"
"""A text with everything that LaTeX or Markdown takes for markup."""


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three seeds of CNN and CCNN, one of which failed."""
    for seed in range(3):
        write_run(tmp_path / f"cnn_{seed}", 6.0 + seed, seed=seed, curve=(50.0 + seed, 20.0, 10.0 - seed))
        write_run(tmp_path / f"ccnn_{seed}", 5.5 + seed, seed=seed, convert=True, curve=(40.0, 10.0, 5.0))
    write_run(tmp_path / "big", state="failed", problem=UNKEMPT, model="resnet50")
    write_run(tmp_path / "lattice", 5.123456, convert=True, sampling="lattice", skip_first=1)
    return gather([tmp_path])[0]


@pytest.fixture
def blocks(runs: list[Run]) -> list[Block]:
    """The runs as blocks of Table 1."""
    return arrange(runs, TABLES["table1"])[0]


@pytest.fixture
def sheets(blocks: list[Block]) -> list[Sheet]:
    """The blocks as text."""
    return [sheet(block, TABLES["table1"]) for block in blocks]


def test_numbers() -> None:
    assert [signed(value) for value in (0.004, -0.004, 1.006, -2.0)] == ["0.00", "0.00", "+1.01", "−2.00"]
    assert plus_minus(5.0, None, 1) == "5.00 (1)"
    assert plus_minus(5.0, 0.123, 4, with_sign=True) == "+5.00 ± 0.12 (4)"
    assert [quantity(value) for value in (None, 12, 6.09e6, 2.4e9, 3e8)] == [
        "",
        "12.0",
        "6.09 M",
        "2.40 G",
        "300 M",
    ]
    assert [duration(value) for value in (None, 1.12, 90, 7200)] == ["", "1.1 s", "1.5 min", "2.0 h"]


def test_markdown_tables_have_all_cells(sheets: list[Sheet]) -> None:
    found: list[tuple[str, ...]] = []
    for line in render.markdown(sheets, ["A note."]).splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) == len(HEADER) + 2, line
            found.append(tuple(re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells[1:-1]))
    expected = [
        tuple(cell.replace("\n", ", ") for cell in line) for s in sheets for g in s.groups for line in g.lines
    ]
    assert [line for line in found if line[0].startswith(("CNN", "CCNN"))] == expected
    assert found.count(HEADER) == len(sheets)


def test_markdown_escapes_what_would_be_markup(sheets: list[Sheet]) -> None:
    text = render.markdown(sheets, [])
    assert r"## C10\* (CIFAR-10" in text
    assert r"100 % of a\_b & {c} #1 \| x\*y \`z\` ~ \\ $5^2 \<i\>" in text


def test_latex_is_balanced_and_escaped(sheets: list[Sheet]) -> None:
    text = render.latex(sheets, ["A note."])
    assert (
        r"100 \% of a\_b \& \{c\} \#1 | x*y `z` \textasciitilde{} \textbackslash{} \$5\textasciicircum{}2" in text
    )
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[%_&#${}\\]", "", body)  # what is left is markup
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[%_#~^]", bare)
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin{(\w+)}", body) == ["table", "tabular"] * len(sheets)
    assert re.findall(r"\\end{(\w+)}", body) == ["tabular", "table"] * len(sheets)
    assert body.isascii()


def test_latex_rows_have_all_cells(sheets: list[Sheet]) -> None:
    rows = [
        line
        for line in render.latex(sheets, []).splitlines()
        if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert len(rows) == len(sheets) + sum(len(group.lines) for s in sheets for group in s.groups)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(HEADER) - 1}
    [row] = [row for row in rows if "lattice" in row]
    assert r"5.12 (1 of 3)" in row


def shown(sheets: list[Sheet]) -> list[str]:
    """The lines of the rich table on a terminal of 120 characters."""
    console = Console(width=120, file=StringIO(), highlight=False)
    console.print(render.rich_tables(sheets, ["A note."]))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_the_rich_table_fits_120_characters_and_keeps_every_cell_whole(sheets: list[Sheet]) -> None:
    found = shown(sheets)
    assert max(map(len, found)) <= 120
    for s in sheets:
        for group in s.groups:
            assert group.name in found
            for line in group.lines:
                parts = [cell.partition("\n")[0] for cell in line[1:] if cell]
                assert any(all(part in text for part in parts) for text in found), line
    [first] = [number for number, line in enumerate(found) if line.startswith("  CCNN lattice ")]
    assert found[first + 1].strip() == "skip_first=1"


def test_columns_of_the_rich_table_are_aligned(sheets: list[Sheet]) -> None:
    found = [line for line in shown(sheets[1:2]) if line.startswith(("  CNN", "  CCNN"))]
    ends = {line.index(")", line.index("(")) for line in found if "(" in line}
    assert len(found) == 14
    assert len(ends) == 1


def test_csv_of_cells_has_plain_numbers(blocks: list[Block]) -> None:
    rows = list(csv.DictReader(StringIO(spreadsheets.cells(blocks))))
    [row] = [row for row in rows if row["model"] == "resnet18" and row["sampling"] == "naive" and row["seeds"]]
    assert (row["data"], row["augment"], row["convert"], row["seeds"]) == ("cifar10", "standard", "True", "0 1 2")
    assert [float(row[key]) for key in ("test_error", "test_error_std", "gain", "gain_std", "gain_pairs")] == (
        pytest.approx([6.5, 1.0, 0.5, 0.0, 3])
    )
    assert [float(row[key]) for key in ("published", "difference", "published_gain", "multiply_adds_ratio")] == (
        pytest.approx([4.90, 1.6, 0.59, 3])
    )
    [failed] = [row for row in rows if row["failed"] == "1"]
    assert (failed["model"], failed["test_error"], failed["published"]) == ("resnet50", "", "5.31")


def test_csv_of_runs_has_each_run_with_all_its_metrics(runs: list[Run]) -> None:
    rows = {row["folder"]: row for row in csv.DictReader(StringIO(spreadsheets.runs_table(runs)))}
    assert len(rows) == 8
    [lattice] = [row for folder, row in rows.items() if folder.endswith("/lattice")]
    assert lattice["test/error"] == "5.123456"
    assert lattice["sampling"] == "lattice skip_first=1"
    assert lattice["git.commit"] == "a" * 40
    assert lattice["packages.torch"] == "2.9.0"
    assert lattice["training_seconds"] == "3600.0"
    [failed] = [row for folder, row in rows.items() if folder.endswith("/big")]
    assert (failed["state"], failed["problem"], failed["test/error"]) == ("failed", UNKEMPT, "")


def test_all_files_are_written_and_replaced(runs: list[Run], blocks: list[Block], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    written, problems = write(folder, blocks, [sheet(block) for block in blocks], [], runs)
    names = ["table.md", "table.csv", "table.tex", "runs.csv", "error_vs_multiply_adds.png", "learning_curves.png"]
    assert [path.name for path in written] == names
    assert problems == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)  # and no temporary file is left
    before = {path: path.read_bytes() for path in written}
    (folder / "table.md").write_text("of an earlier report")
    write(folder, blocks, [sheet(block) for block in blocks], [], runs)
    assert {path: path.read_bytes() for path in written} == before


def test_plots_are_800_pixels_wide_and_not_blank(blocks: list[Block]) -> None:
    for content in (scatter.error_vs_multiply_adds(blocks), curves.learning_curves(blocks, [])):
        assert content is not None
        pixels = matplotlib.image.imread(BytesIO(content), format="png")
        assert pixels.shape[1] == 800
        ink = np.abs(pixels[..., :3] - 1).max(axis=-1) > 0.3
        assert 0.005 < ink.mean() < 0.5


def test_training_compute_is_drawn_where_cnns_were_trained_for_longer(tmp_path: Path) -> None:
    write_run(tmp_path / "cnn", 6.0)
    write_run(tmp_path / "ccnn", 5.0, convert=True)
    assert compute_plot.error_vs_training_compute(arrange(gather([tmp_path])[0])[0]) is None
    write_run(tmp_path / "longer", 5.5, epochs=900)
    content = compute_plot.error_vs_training_compute(arrange(gather([tmp_path])[0])[0])
    assert content is not None
    assert matplotlib.image.imread(BytesIO(content), format="png").shape[1] == 800


def test_a_plot_without_data_is_not_written(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", state="failed")
    found, _ = gather([tmp_path / "runs"])
    blocks, _ = arrange(found)
    report = tmp_path / "report"
    report.mkdir()
    (report / "learning_curves.png").write_bytes(b"of an earlier report")
    written, problems = write(report, blocks, [], [], found)
    assert [path.name for path in written] == ["table.md", "table.csv", "table.tex", "runs.csv"]
    assert len(problems) == 2
    assert not (report / "learning_curves.png").exists()


def test_curves_are_read_by_epoch(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 5.0, curve=(50.0, 20.0, 10.0))
    [run], _ = gather([tmp_path])
    problems: list[str] = []
    found = read_curves(run, problems)
    assert found["val/error"] == {1: 50.0, 2: 20.0, 3: 10.0}
    assert found["train/error"] == pytest.approx({1: 35.0, 2: 14.0, 3: 7.0})
    assert problems == []


def test_damaged_curves_are_told(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        write_run(tmp_path / name, 5.0, seed=seed)
    write_curve(tmp_path / "a", (50.0, 20.0))
    (tmp_path / "b" / "metrics.csv").write_text("epoch,val/error\n0,5\n1,abc\n")
    (tmp_path / "c" / "metrics.csv").write_bytes(b"\xff\x00\x12")
    blocks, _ = arrange(gather([tmp_path])[0])
    problems: list[str] = []
    assert curves.learning_curves(blocks, problems) is not None
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        str(tmp_path / name / "metrics.csv") for name in ("b", "c")
    ]
    assert all("\n" not in problem for problem in problems)
