"""Each format of a report says the same and can be read back; plots are drawn; mistakes end with one line."""

import re
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from report_runs import arranged, write_curve, write_run

from ccnn.cli import report as command
from ccnn.config import CONF
from ccnn.report import trained
from ccnn.report.paper import TABLES
from ccnn.report.plots import plots, read_curves
from ccnn.report.tables import Report

UNKEMPT = "100 % of a_b & {c} #1 | x*y `z` ~ \\ $5^2 <i>"
"""A text with everything that LaTeX or Markdown takes for markup."""
PLOTS = ["error_vs_multiply_adds.png", "learning_curves.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three seeds of CNN and CCNN, a run that failed, and one that is damaged."""
    for seed in range(3):
        write_run(tmp_path / f"cnn_{seed}", 6.0 + seed, seed=seed, curve=(50.0 + seed, 20.0, 10.0 - seed))
        write_run(tmp_path / f"ccnn_{seed}", 5.5 + seed, seed=seed, convert=True, curve=(40.0, 10.0, 5.0))
    write_run(tmp_path / "big", state="failed", problem=UNKEMPT, model="resnet50")
    write_run(tmp_path / "lattice", 5.123456, convert=True, sampling="lattice", skip_first=1)
    return tmp_path


@pytest.fixture
def report(folder: Path) -> Report:
    return trained.report(arranged(folder, "table1"), TABLES["table1"])


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs the command line; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
    try:
        command.main()
    except SystemExit as end:
        if isinstance(end.code, str):  # as Python's own handling does
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def test_markdown_has_all_cells_and_escapes_what_would_be_markup(report: Report) -> None:
    text = report.text("markdown")
    rows = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            rows.append([cell.strip("*") for cell in cells])
    expected = [
        [cell.replace("\n", " ") for cell in row]
        for table in report.tables
        for row in (list(table.cells.columns), ["---", *["---:"] * 7], *table.cells.to_numpy().tolist())
    ]
    assert rows == expected
    assert r"## C10\* (CIFAR-10" in text
    assert r"100 % of a\_b & {c} #1 \| x\*y \`z\` ~ \\ $5^2 \<i\>" in text


def test_latex_is_balanced_and_has_all_cells(report: Report) -> None:
    text = report.text("latex")
    assert (
        r"100 \% of a\_b \& \{c\} \#1 | x*y `z` \textasciitilde{} \textbackslash{} \$5\textasciicircum{}2" in text
    )
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[%_&#${}\\]", "", body)  # what is left is markup
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%_#~^]", bare)
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\(begin|end){(\w+)}", body) == [
        *[("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")] * len(report.tables)
    ]
    assert body.isascii()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == sum(1 + len(table.cells) for table in report.tables)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {7}


def test_the_rich_table_fits_120_characters_and_cuts_nothing(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    report.print()
    text = capsys.readouterr().out
    for table in report.tables:
        notes = [table.title, *table.notes]
        assert all(note in text for note in notes)
        for row in table.cells.to_numpy().tolist():
            for part in (part for cell in row[1:] for part in cell.split("\n")):
                assert part in text
        text = "\n".join(line for line in text.splitlines() if line not in notes)
    assert max(len(line) for line in text.splitlines() if line not in report.notes) <= 120


def test_csv_has_plain_numbers(report: Report) -> None:
    rows = pd.read_csv(StringIO(report.text("csv")))
    [[_, row]] = rows[
        (rows["model"] == "resnet18") & (rows["sampling"] == "naive") & rows["seeds"].notna()
    ].iterrows()
    assert list(row[["data", "augment", "convert", "seeds"]]) == ["cifar10", "standard", True, "0 1 2"]
    names = ["test_error", "test_error_std", "gain", "gain_std", "gain_pairs", "published", "difference"]
    assert list(row[names]) == pytest.approx([6.5, 1.0, 0.5, 0.0, 3, 4.90, 1.6])
    [[_, failed]] = rows[rows["failed"] == 1].iterrows()
    assert (failed["model"], failed["published"]) == ("resnet50", 5.31)
    assert pd.isna(failed["test_error"])


@pytest.mark.parametrize(
    ("form", "start"), [("rich", "C10 "), ("markdown", "## C10 "), ("csv", "data,"), ("latex", "% needs")]
)
def test_every_format_prints_and_files_are_written_and_replaced(
    form: str, start: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_run(folder / "bad", 5.0, seed=1) / "metrics.json").write_text("{")
    out = folder / "new" / "report"
    assert call(monkeypatch, folder, "--format", form, "--output", out) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(start)
    assert str(folder / "bad" / "metrics.json") in printed.err.splitlines()[0]
    assert printed.err.splitlines()[1].startswith("Written: ")
    names = ["runs.csv", "table.csv", "table.md", "table.tex", *PLOTS]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)  # and no temporary file is left
    if form == "csv":
        before = {path: path.read_bytes() for path in out.iterdir()}
        (out / "table.md").write_text("of an earlier report")
        assert call(monkeypatch, folder, "--output", out) == 0
        assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_plots_are_800_pixels_wide_and_not_blank(folder: Path) -> None:
    write_run(folder / "longer", 5.5, epochs=900)
    contents, problems = plots(arranged(folder))
    assert problems == []
    assert len(contents) == 3
    for content in contents.values():
        assert content is not None
        pixels = matplotlib.image.imread(BytesIO(content), format="png")
        assert pixels.shape[1] == 800
        ink = np.abs(pixels[..., :3] - 1).max(axis=-1) > 0.3
        assert 0.005 < ink.mean() < 0.5


def test_a_plot_without_data_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs" / "a", state="failed")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "learning_curves.png").write_bytes(b"of an earlier report")
    assert call(monkeypatch, tmp_path / "runs", "--output", tmp_path / "report") == 0
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["runs.csv", "table.csv", "table.md", "table.tex"]


def test_curves_are_read_by_epoch_and_damaged_ones_named(tmp_path: Path) -> None:
    problems: list[str] = []
    write_curve(tmp_path, (50.0, 20.0, 10.0))
    curves = read_curves(tmp_path, problems)
    assert curves["val/error"].to_dict() == {1: 50.0, 2: 20.0, 3: 10.0}
    assert curves["train/error"].to_dict() == pytest.approx({1: 35.0, 2: 14.0, 3: 7.0})
    assert problems == []
    for content in (b"epoch,val/error\n0,5\n1,abc\n", b"\xff\x00\x12", b"a,b\n1,2\n"):
        (tmp_path / "metrics.csv").write_bytes(content)
        assert read_curves(tmp_path, problems).empty
    assert [problem.partition(":")[0] for problem in problems] == [str(tmp_path / "metrics.csv")] * 3
    assert not any("\n" in problem for problem in problems)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}/nowhere"], "nowhere: no such folder; expected"),
        (["{0}/file"], "file: no such folder; expected"),
        (["{0}/empty"], "empty: contains no run, nor do the folders below; expected metrics.json"),
        (["{0}/bad"], "bad: none of 1 run folders can be used; the first: "),
        (["{0}/good", "--table", "tabel7"], "--table: there is no 'tabel7'; did you mean 'table7'"),
        (["{0}/good", "--table", "table2"], "good: contains no evaluation.json, nor do the folders below; python"),
        (["{0}/good", "--table", "table3"], "good: contains no table3.csv, nor do the folders below; python"),
        (["{0}/nowhere", "--table", "table3"], "nowhere: no such folder; expected one that python"),
        (["{0}/good", "--format", "markdwn"], "--format: there is no 'markdwn'; did you mean 'markdown'"),
        (["{0}/good", "--output", "{0}/file"], "file cannot be written: File exists"),
        ([], "the following arguments are required: folder"),
        (["{0}/good", "--tabel", "table1"], "--tabel: there is no such option; did you mean --table?"),
    ],
)
def test_mistakes_end_with_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    write_run(tmp_path / "good", 5.0)
    (write_run(tmp_path / "bad", 5.0) / "metrics.json").write_text("{")
    assert call(monkeypatch, *(text.format(tmp_path) for text in arguments)) in (1, 2)
    reported = capsys.readouterr().err.removeprefix("\n")
    assert reported.startswith("Error: ")
    assert message in reported
    assert reported.count("\n") == 1


def test_it_starts_without_torch_and_prints_without_matplotlib(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 5.0)
    script = CONF.parent / "scripts" / "report.py"
    code = (
        f"import sys, runpy; sys.argv = ['report.py', {str(tmp_path)!r}]; runpy.run_path({str(script)!r}, "
        "run_name='__main__'); sys.exit(bool({'torch', 'matplotlib'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "ResNet-18" in ended.stdout
