"""metrics.json and status.json: what is written is read again, also of older runs."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ccnn.errors import UserError
from ccnn.runs.record import RunRecord, Status
from ccnn.runs.status import heartbeat, read_status, write_status

METRICS = {
    "test/error": 9.6, "test/loss": 0.31, "val/error": None, "best_epoch": None, "epochs": 10,
    "training_seconds": 3.5, "parameters": 67913, "plain_multiply_adds": 100, "multiply_adds": 150,
    "multiply_adds_ratio": 1.5, "model": "toy", "data": "digits", "augment": "standard", "convert": True,
    "sampling": "lattice", "seed": 0, "protocol": "honest", "train_images": 1167, "batch_size": 32,
    "chosen_by": "lowest val/error", "checkpoint": "best.ckpt", "images_seen": 11670,
}  # fmt: skip


def test_metrics_json_keeps_its_keys(tmp_path: Path) -> None:
    RunRecord.from_dict(METRICS).write(tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == METRICS
    assert RunRecord.read(tmp_path) == RunRecord.from_dict(METRICS)


def test_a_run_of_an_older_version_lacks_keys_and_has_others(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"test/error": 12, "gone": 1}')
    assert RunRecord.read(tmp_path) == RunRecord(test_error=12)


def test_a_folder_without_a_result_has_no_record(tmp_path: Path) -> None:
    assert RunRecord.read(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    ['{"test/err', "[]", "{}", '{"test/error": "low"}', '{"test/error": true}', '{"test/error": NaN}',
     '{"test/error": 1.0, "seed": 0.5}', '{"test/error": 1.0, "convert": 1}', "\udcff"],
)  # fmt: skip
def test_a_damaged_result_is_an_error_that_names_the_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"metrics\.json is damaged: "):
        RunRecord.read(tmp_path)


def test_a_status_knows_its_process(tmp_path: Path) -> None:
    write_status(tmp_path, "failed", "out of luck")
    status = read_status(tmp_path)
    assert (status.state, status.error, status.process) == ("failed", "out of luck", os.getpid())
    assert status.name == tmp_path.name


@pytest.mark.parametrize("content", [None, "{", "[]", '{"process": 3, "unknown": 4}'])
def test_a_missing_or_damaged_status_has_no_state(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path).state == ""


def written(folder: Path, **changes: Any) -> Status:
    """The status of a running process, changed."""
    write_status(folder, "running")
    path = folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return read_status(folder)


def test_a_running_process_is_told_from_a_dead_one_and_from_a_reused_number(tmp_path: Path) -> None:
    parent = os.getppid()
    assert written(tmp_path, process=parent, started=None).state == "running"
    assert written(tmp_path, process=parent, started="1").state == "interrupted"
    assert written(tmp_path, process=2**22 + 1).state == "interrupted"
    assert written(tmp_path).state == "interrupted", "this very process asks, so it is not running yet"


@pytest.mark.parametrize(("minutes", "state"), [(10, "running"), (20, "interrupted")])
def test_a_silent_run_on_another_machine_counts_as_interrupted(minutes: int, state: str, tmp_path: Path) -> None:
    written(tmp_path, host="elsewhere", slurm_job="16")
    os.utime(tmp_path / "status.json", times=(time.time() - 60 * minutes,) * 2)
    assert read_status(tmp_path).state == state


def test_a_job_that_slurm_moved_here_does_not_wait_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert written(tmp_path, host="elsewhere").state == "interrupted"
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert read_status(tmp_path).state == "running"


def test_a_run_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccnn.runs.status._BEAT", 0.01)
    write_status(tmp_path, "running")
    os.utime(tmp_path / "status.json", times=(0, 0))
    with heartbeat(tmp_path):
        end = time.monotonic() + 10
        while time.monotonic() < end and (tmp_path / "status.json").stat().st_mtime == 0:
            time.sleep(0.01)
    assert (tmp_path / "status.json").stat().st_mtime > 0
