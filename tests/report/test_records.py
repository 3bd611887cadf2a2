"""Run folders become one frame; damaged and foreign ones are named in one line and skipped."""

import json
from pathlib import Path

import pandas as pd
import pytest
from report_runs import write_run

from ccnn.errors import UserError
from ccnn.report.records import read_runs, runs_csv


def test_runs_are_found_at_any_depth_and_counted_once(tmp_path: Path) -> None:
    write_run(tmp_path / "sweeps" / "one" / "a", 5.0)
    write_run(tmp_path / "runs" / "b", 6.0, seed=1)
    write_run(tmp_path / "runs" / ".hidden" / "c", 6.0, seed=2)
    runs, problems = read_runs([tmp_path, tmp_path / "runs", tmp_path / "sweeps" / ".." / "runs" / "b"])
    assert sorted(folder.name for folder in runs["folder"]) == ["a", "b"]
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
    runs, problems = read_runs([tmp_path])
    assert problems == []
    run = runs.iloc[0]
    assert (run["state"], run["augment"], run["sampling"]) == ("finished", "standard", "lattice skip_first=2")
    assert (run["protocol"], run["epochs"], run["train_images"], run["batch_size"]) == (None, 300, None, 64)


def test_the_configured_epochs_count_not_those_after_which_training_stopped(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 5.0, epochs=30, trained_epochs=7)
    write_run(tmp_path / "b", 5.0, epochs=30, settings={"trainer.max_epochs": -1})  # until max_steps or max_time
    runs, _ = read_runs([tmp_path])
    assert runs[["epochs", "trained_epochs"]].to_numpy().tolist() == [[30, 7], [30, 30]]


def test_runs_csv_holds_every_run_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", 5.123456, convert=True, sampling="lattice", skip_first=1)
    write_run(tmp_path / "runs" / "b", state="failed", problem='A "quoted", text | with\ttabs', model="resnet50")
    runs, _ = read_runs([tmp_path / "runs"])
    (tmp_path / "runs.csv").write_text(runs_csv(runs))
    row = pd.read_csv(tmp_path / "runs.csv", dtype=str).iloc[0]
    expected = {"test/error": "5.123456", "sampling": "lattice skip_first=1", "git.commit": "a" * 40,
                "packages.torch": "2.9.0", "training_seconds": "3600.0", "config.optimizer.lr": "0.1"}  # fmt: skip
    assert row[list(expected)].to_dict() == expected
    again, problems = read_runs([tmp_path / "runs.csv"])
    assert problems == []
    pd.testing.assert_frame_equal(again.drop(columns="folder"), runs.drop(columns="folder"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metrics.json", "{", "is damaged"),
        ("metrics.json", "[]", "expected a mapping, got list"),
        ("metrics.json", b"\xff\xfe\xfa", "is damaged"),
        ("metrics.json", '{"loss": 3}', "for test/error, got None"),
        ("metrics.json", '{"test/error": NaN}', "for test/error, got nan"),
        ("metrics.json", '{"test/error": 1, "seed": "x"}', "for seed, got 'x'"),
        ("config.yaml", "a: [", "it cannot be read: "),
        ("config.yaml", "- a", "expected a mapping, got list"),
        ("environment.json", "nonsense", "it cannot be read: "),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    name: str, content: str | bytes, problem: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "good", 5.0)
    folder = write_run(tmp_path / "damaged", 6.0, seed=1)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    runs, [line] = read_runs([tmp_path])
    assert line.startswith(f"{folder}")
    assert all(part in line for part in (problem, "skipped", name))
    assert "\n" not in line
    lost = name == "metrics.json"
    assert [place.name for place in runs["folder"]] == (["good"] if lost else ["damaged", "good"])


def test_folders_that_do_not_say_what_was_run_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "good", 5.0)
    for name, file, content in (
        ("foreign", "config.yaml", "theme: dark\n"),
        ("lonely", "status.json", '{"state": "running"}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(content)
    runs, problems = read_runs([tmp_path])
    assert [folder.name for folder in runs["folder"]] == ["good"]
    assert problems == [
        f"{tmp_path / 'foreign'}: skipped; config.yaml: expected str for model, got None.",
        f"{tmp_path / 'lonely'}: skipped; neither metrics.json nor config.yaml says what was run.",
    ]


def test_a_csv_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other.csv: is no runs.csv of a report; it lacks convert, data, model"):
        read_runs([tmp_path / "other.csv"])
