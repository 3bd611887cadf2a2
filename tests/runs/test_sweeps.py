"""Sweeps that are left alone: what fails is told, what is missing is finished by the same command."""

import re
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM
from time import monotonic, sleep

import pytest
from archives import write_idx
from processes import Nursery
from run_results import metrics, status

from ccnn.report.records import read_runs
from ccnn.runs.status import read_status

pytestmark = pytest.mark.slow

TINY = ("-m", "trainer=cpu", "trainer.max_epochs=2", "+trainer.limit_train_batches=4", "callbacks.pictures=null",
        "sweep=s")  # fmt: skip


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def folders(folder: Path) -> dict[str, Path]:
    """The runs of the sweep by their seed."""
    found = [path for path in (folder / "outputs/sweeps/s").iterdir() if path.is_dir() and path.name[0] != "."]
    return {re.findall(r"seed(-?\d+)", path.name)[0]: path for path in found}


def times(run: Path) -> dict[str, int]:
    """When each file was last written; a launcher may write to the log of a run that is finished."""
    return {path.name: path.stat().st_mtime_ns for path in run.rglob("*") if path.suffix != ".log"}


def test_what_fails_is_told_at_the_end_and_run_again(nursery: Nursery, tmp_path: Path) -> None:
    # Diverges at once with one learning rate; the other value is refused before the training.
    arguments = (*TINY, "seed=0,1", "optimizer.lr=1e30,-1,0.1", "trainer.log_every_n_steps=1")
    command = nursery.train(tmp_path, *arguments)
    assert command.code == 1
    assert "Traceback" not in command.out + command.err
    told = command.err[command.err.index("Not finished, 4 of 6 jobs that began:") :]
    assert len(re.findall("  digits_toy_cnn_seed[01]_.*: Training diverged: the loss is nan at step", told)) == 2
    assert len(re.findall("  digits_toy_cnn_seed[01]_.*: optimizer.lr: expected a number > 0, got -1", told)) == 2
    runs = sorted(path for path in (tmp_path / "outputs/sweeps/s").iterdir() if path.is_dir())
    states = [status(run)["state"] for run in runs]
    assert sorted(states) == ["failed", "failed", "failed", "failed", "finished", "finished"]
    said = {status(run)["error"].split(":")[0] for run in runs if status(run)["error"]}
    assert said == {"Training diverged", "optimizer.lr"}

    before = {run: times(run) for run in runs if status(run)["state"] == "finished"}
    failed_at = {run: status(run)["process"] for run in runs if status(run)["state"] == "failed"}
    again = nursery.train(tmp_path, *arguments)
    assert again.code == 1
    assert again.out.count("is finished already") == 2
    assert again.out.count("failed before, starts from the beginning") == 2
    assert all(times(run) == known for run, known in before.items())
    assert all(status(run)["process"] != process for run, process in failed_at.items())


def test_a_killed_sweep_goes_on_where_it_was(nursery: Nursery, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = (*TINY, "seed=0,1,2", "convert=true", "sampling=random", "trainer.max_epochs=4")
    for folder in (whole, broken):
        folder.mkdir()
    assert nursery.train(whole, *arguments).code == 0
    command = nursery.start(broken, *arguments)
    end = monotonic() + 60
    while monotonic() < end and not list(broken.glob("outputs/sweeps/s/*seed1*/checkpoints/last.ckpt")):
        sleep(0.01)
    command.signal(SIGKILL)
    assert command.wait().code == -SIGKILL
    assert sorted(folders(broken)) == ["0", "1"]
    finished = times(folders(broken)["0"])
    again = nursery.train(broken, *arguments)
    assert again.code == 0, again.err
    assert "is finished already" in again.out
    assert "resumes from last.ckpt" in again.out
    assert times(folders(broken)["0"]) == finished
    assert sorted(folders(broken)) == ["0", "1", "2"]
    for seed, run in folders(whole).items():
        assert metrics(folders(broken)[seed]) == metrics(run)


def jobs_that(**values: object) -> tuple[str, ...]:
    """The overrides that have jobs call `experiments.SignalAt` or `RaiseAt`; a text with a comma makes several."""
    target = "RaiseAt" if "error" in values else "SignalAt"
    return (f"+callbacks.stop._target_=experiments.{target}",
            *(f"+callbacks.stop.{name}={value}" for name, value in values.items()))  # fmt: skip


def states(folder: Path) -> list[str]:
    """The state of each job whose folder is there."""
    found = (folder / "outputs/sweeps/s").glob("*/status.json")
    return sorted(read_status(path.parent).state for path in found)


def test_a_job_that_is_always_killed_does_not_block_the_others(nursery: Nursery, tmp_path: Path) -> None:
    arguments = (*TINY, "trainer.max_epochs=1", *jobs_that(step=2, number="9,0"))
    for _ in range(2):
        assert nursery.train(tmp_path, *arguments).code == -SIGKILL
        assert states(tmp_path) == ["interrupted"]
    third = nursery.train(tmp_path, *arguments)
    assert third.code == 1
    assert "Traceback" not in third.out + third.err
    table = third.err[third.err.index("Not finished, 1 of 2 jobs that began:") :]
    assert re.search("  digits_toy_cnn_seed0_.*: was killed twice", table)
    assert states(tmp_path) == ["finished", "interrupted"]
    assert nursery.train(tmp_path, *arguments).code == -SIGKILL, "it was not tried again"


def test_a_killed_job_that_gets_further_each_time_is_not_left_out(nursery: Nursery, tmp_path: Path) -> None:
    killed = (*TINY, "trainer.max_epochs=4", "seed=0", *jobs_that(step="6", number="9"))
    assert nursery.train(tmp_path, *killed).code == -SIGKILL
    (run,) = folders(tmp_path).values()
    for _ in range(2):
        with (tmp_path / "outputs/sweeps/s/jobs.log").open("a") as file:
            file.write('\n{"sweep": "torn')  # as by a full disk
        assert nursery.train(tmp_path, *killed).code == -SIGKILL
        (run / "checkpoints/last.ckpt").touch()  # as by another epoch
    assert nursery.train(tmp_path, *killed).code == -SIGKILL, "it was left out"


def test_a_job_that_ends_its_process_is_a_failed_job(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(tmp_path, *TINY, "trainer.max_epochs=1", *jobs_that(step=1, error="SystemExit,none"))
    assert command.code == 1
    assert "Traceback" not in command.out + command.err
    listed = command.err.split("Not finished, 1 of 2 jobs that began:")[1]
    assert "the job ended its process itself, with exit code 7" in listed
    assert states(tmp_path) == ["failed", "finished"]


def test_a_signal_ends_a_sweep_and_names_the_job_that_it_interrupted(nursery: Nursery, tmp_path: Path) -> None:
    arguments = (*TINY, "trainer.max_epochs=500", "seed=0,1,2")
    command = nursery.start(tmp_path, *arguments)
    end = monotonic() + 60
    while monotonic() < end and not list(tmp_path.glob("outputs/sweeps/s/*/checkpoints/last.ckpt")):
        sleep(0.1)
    command.signal(SIGTERM)
    assert command.wait(60).code == 128 + SIGTERM, command.err
    assert "Traceback" not in command.out + command.err
    assert "To go on: the same command again" in command.err
    assert re.search("Not finished, 1 of 1 jobs that began:\n  digits_toy_cnn_seed0_.*: interrupted", command.err)
    assert states(tmp_path) == ["interrupted"]


def test_what_is_an_error_is_in_the_report_and_begins_once_it_is_right(nursery: Nursery, tmp_path: Path) -> None:
    arguments = (*TINY, "trainer.max_epochs=1", "data=digits,mnist", f"data.root={tmp_path}/data",
                 "data.download=false", "data.batch_size=4")  # fmt: skip
    assert nursery.train(tmp_path, *arguments).code == 1
    runs, _ = read_runs([tmp_path / "outputs/sweeps/s"])
    ends = [(run["state"], "was not found" in (run["problem"] or "")) for run in runs.to_dict("records")]
    assert sorted(ends) == [
        ("failed", True), ("finished", False)]  # fmt: skip
    write_idx(tmp_path / "data")
    again = nursery.train(tmp_path, *arguments)
    assert again.code == 0, again.err
    assert states(tmp_path) == ["finished", "finished"]


def test_combinations_can_be_left_out(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(
        tmp_path, *TINY, "model=toy,vgg11_bn", "seed=0,1",
        "exclude=[{model: [vgg11_bn, vgg13_bn]},{model: toy, seed: 1}]", "trainer.max_epochs=1",
    )  # fmt: skip
    assert command.code == 0, command.err
    assert command.out.count("Left out of the sweep: ") == 3
    assert sorted(folders(tmp_path)) == ["0"]


def test_runs_that_differ_in_anything_have_folders_of_their_own(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(
        tmp_path, *TINY, "trainer.max_epochs=1", "data.mean=[0.3],[0.31]", "optimizer.lr=0.1,0.10000001",
        "+trainer.gradient_clip_val=1,2",
    )  # fmt: skip
    assert command.code == 0, command.err
    runs = [path for path in (tmp_path / "outputs/sweeps/s").iterdir() if path.is_dir()]
    assert len(runs) == 8
    overrides = {(run / "overrides.yaml").read_text() for run in runs}
    assert len(overrides) == 8


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_do_the_same(launcher: str, nursery: Nursery, tmp_path: Path) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    limit = "hydra.launcher.n_jobs=2" if launcher == "joblib" else "hydra.launcher.timeout_min=5"
    arguments = (*TINY, "trainer.max_epochs=1", "seed=0,-1,1", f"hydra/launcher={launcher}", limit)
    command = nursery.train(tmp_path, *arguments)
    assert command.code == 1
    assert "Traceback" not in command.out + command.err
    assert "Not finished, 1 of 3 jobs that began:" in command.err
    assert re.search(r"seed-1_.*: seed: expected an integer from 0 to 4294967295, got -1", command.err)
    runs = folders(tmp_path)
    assert [status(runs[seed])["state"] for seed in ("0", "1", "-1")] == ["finished", "finished", "failed"]
    known = {seed: times(runs[seed]) for seed in ("0", "1")}
    assert nursery.train(tmp_path, *arguments).code == 1
    assert folders(tmp_path) == runs
    assert {seed: times(runs[seed]) for seed in ("0", "1")} == known


def test_a_killed_worker_is_told_and_the_same_command_goes_on(nursery: Nursery, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = (*TINY, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_epochs=1",
                 *jobs_that(step=2, number="9,0"))  # fmt: skip
    command = nursery.train(tmp_path, *arguments)
    assert command.code == 1
    assert "Traceback" not in command.out + command.err
    assert "The launcher has lost a job: A worker process" in command.err
    assert re.search("  digits_toy_cnn_seed0_.*: was killed", command.err[command.err.index("Not finished") :])
    said = ""
    for _ in range(6):  # joblib takes the other worker along, so that its job may need another try
        said += nursery.train(tmp_path, *arguments).err
        if "was killed twice" in said and "finished" in states(tmp_path):
            break
    assert "was killed twice" in said
    assert states(tmp_path) == ["finished", "interrupted"]


def test_a_sweep_in_several_processes_is_an_error_at_once(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(tmp_path, *TINY, "seed=0,1", "trainer.devices=2", "trainer.strategy=ddp")
    assert command.code == 1
    assert (
        command.err.count("Error: trainer.devices, trainer.num_nodes: a sweep runs on one device at a time") == 2
    )
    assert "for seed in 0 1 2; do python train.py" in command.err
    assert not (tmp_path / "outputs/sweeps/s").exists()
