"""The report copes with any folder, and says in one line what it cannot use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from report_runs import write_run

from ccnn.errors import UserError
from ccnn.report.folders import gather
from scripts import report

SCRIPT = Path(report.__file__)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs the command line; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
    try:
        report.main()
    except SystemExit as end:
        if isinstance(end.code, str):  # as Python's own handling does
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def test_runs_are_found_at_any_depth_and_counted_once(tmp_path: Path) -> None:
    write_run(tmp_path / "sweeps" / "one" / "a", 5.0)
    write_run(tmp_path / "runs" / "b", 6.0, seed=1)
    write_run(tmp_path / "runs" / ".hidden" / "c", 6.0, seed=2)
    runs, problems = gather([tmp_path, tmp_path / "runs", tmp_path / "sweeps" / ".." / "runs" / "b"])
    assert sorted(run.folder.name for run in runs) == ["a", "b"]
    assert problems == []


def test_a_run_of_before_status_files_and_protocols_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", 5.0, convert=True, sampling="lattice", skip_first=2)
    for name in ("status.json", "environment.json"):
        (folder / name).unlink()
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("augment", "protocol", "train_images", "batch_size"):
        del metrics[key]
    (folder / "metrics.json").write_text(json.dumps(metrics | {"sampling": "lattice"}))
    config = (folder / "config.yaml").read_text().replace("protocol: paper\n", "")
    (folder / "config.yaml").write_text(config)
    [run], problems = gather([tmp_path])
    assert problems == []
    assert run.finished
    assert run.column.augment == "standard"
    assert run.sampling == "lattice skip_first=2"
    assert run.condition == (None, 300, None, 64)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", "{", "it cannot be read: "),
        ("metrics.json", "[]", "expected a mapping, got list"),
        ("metrics.json", "[" * 100_000, "it cannot be read: "),
        ("metrics.json", b"\xff\xfe\xfa", "it cannot be read: "),
        ("metrics.json", '{"loss": 3}', "expected a number for test/error, got None"),
        ("metrics.json", '{"test/error": NaN}', "expected a number for test/error, got nan"),
        ("metrics.json", '{"test/error": true}', "expected a number for test/error, got True"),
        ("metrics.json", '{"test/error": 1, "seed": "x"}', "expected int for seed, got 'x'"),
        ("metrics.json", '{"test/error": 1, "epochs": [3]}', "expected int for epochs, got [3]"),
        ("metrics.json", '{"test/error": 1, "convert": 1}', "expected bool for convert, got 1"),
        ("config.yaml", "a: [", "it cannot be read: "),
        ("config.yaml", "- a", "expected a mapping, got list"),
        ("status.json", "3", "expected a mapping, got int"),
        ("environment.json", "nonsense", "it cannot be read: "),
    ],
)
def test_a_damaged_or_foreign_file_is_told_in_one_line(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "good", 5.0)
    folder = write_run(tmp_path / "damaged", 6.0, seed=1)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    runs, [problem] = gather([tmp_path])
    assert problem.startswith(f"{folder}")
    assert said in problem
    assert "skipped" in problem
    assert name in problem
    assert "\n" not in problem
    lost = name == "metrics.json"
    assert [run.folder.name for run in runs] == (["good"] if lost else ["damaged", "good"])


def test_the_config_of_something_else_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "good", 5.0)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.yaml").write_text("theme: dark\n")
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely" / "status.json").write_text('{"state": "running"}')
    runs, problems = gather([tmp_path])
    assert [run.folder.name for run in runs] == ["good"]
    assert problems == [
        f"{tmp_path / 'foreign'}: skipped; config.yaml: expected str for model, got None.",
        f"{tmp_path / 'lonely'}: skipped; neither metrics.json nor config.yaml says what was run.",
    ]


def test_odd_values_where_they_do_not_matter_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: dict[str, object] = {
        "training_seconds": "long",
        "multiply_adds": None,
        "parameters": [],
        "multiply_adds_ratio": float("inf"),
    }
    for name, convert in (("a", False), ("b", True)):
        folder = write_run(tmp_path / "runs" / name, 5.0, convert=convert)
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(metrics | odd))
    (folder / "environment.json").write_text('{"date": 3, "git": "none", "packages": null}')
    (folder / "status.json").write_text('{"state": ["x"], "error": {"a": 1}}')
    assert call(monkeypatch, tmp_path / "runs", "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "table.md").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{0}/nowhere"], "nowhere: there is no such folder; expected"),
        (["{0}/file"], "file: is no folder; expected"),
        (["{0}/empty"], "empty: holds no run, nor do the folders below; expected metrics.json"),
        (["{0}/bad"], "bad: none of 1 run folders can be used; the first: "),
        (["{0}/good", "--table", "tabel7"], "--table: there is no 'tabel7'; did you mean 'table7'"),
        (["{0}/good", "--table", "table2"], "good: holds no evaluation.json, nor do the folders below; python"),
        (["{0}/good", "--table", "table3"], "good: holds no table3.csv, nor do the folders below; python"),
        (["{0}/nowhere", "--table", "table3"], "nowhere: there is no such folder; expected one that python"),
        (["{0}/good", "--format", "markdwn"], "--format: there is no 'markdwn'; did you mean 'markdown'"),
        (["{0}/good", "--output", "{0}/file"], "file cannot be written: File exists"),
        ([], "the following arguments are required: folder"),
        (["{0}/good", "--tabel", "table1"], "--tabel: there is no such option; did you mean --table?"),
    ],
)
def test_mistakes_end_with_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    write_run(tmp_path / "good", 5.0)
    (write_run(tmp_path / "bad", 5.0) / "metrics.json").write_text("{")
    assert call(monkeypatch, *(text.format(tmp_path) for text in arguments)) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith("Error: ")
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("form", "start"), [("rich", "C10 "), ("markdown", "## C10 "), ("csv", "data,"), ("latex", "% needs")]
)
def test_every_format_prints_despite_damaged_runs(
    form: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "good", 5.0)
    (write_run(tmp_path / "bad", 5.0, seed=1) / "metrics.json").write_text("{")
    assert call(monkeypatch, tmp_path, "--format", form) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(start)
    assert printed.err.count("\n") == 1
    assert str(tmp_path / "bad" / "metrics.json") in printed.err


def test_nothing_usable_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        gather([tmp_path])


def test_it_starts_without_torch_and_prints_without_matplotlib(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 5.0)
    code = (
        f"import sys, runpy; sys.argv = ['report.py', {str(tmp_path)!r}]; runpy.run_path({str(SCRIPT)!r}, "
        "run_name='__main__'); sys.exit(bool({'torch', 'matplotlib'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert ended.returncode == 0, ended.stderr
    assert "ResNet-18" in ended.stdout
