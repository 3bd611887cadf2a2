"""Where a run goes on, where it begins anew, and what is refused."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest
import torch
from evaluations import evaluation_of
from experiments import SMALL, Compose, Run, signal_at
from run_results import assert_same_run, metrics, rows, same, state, status

from ccnn.errors import UserError
from ccnn.files import write_text
from ccnn.runs.checkpoints import read_checkpoint
from ccnn.runs.lock import LOCK
from ccnn.runs.signals import Interrupted
from ccnn.runs.status import heartbeat, read_status, write_status

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*does not have many workers")]


RANDOM = ("convert=true", "sampling=random", "callbacks.pictures=null")


@pytest.fixture
def stopped(run: Run, tmp_path: Path) -> Path:
    """A run that was interrupted in the second of its two epochs."""
    with pytest.raises(Interrupted):
        run(*RANDOM, *signal_at(5, SIGINT), folder="stopped")
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGINT)}", "number: 0"))  # not once more
    return tmp_path / "stopped"


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
@pytest.mark.parametrize("step", [0, 1, 3, 5, 7])
def test_a_run_interrupted_in_any_step_ends_as_one_that_was_not(
    step: int, number: Signals, run: Run, tmp_path: Path
) -> None:
    whole = run(*RANDOM, *signal_at(step), folder="whole")
    with pytest.raises(Interrupted, match=rf"Interrupted in epoch .*resume={tmp_path}/stopped") as caught:
        run(*RANDOM, *signal_at(step, number), folder="stopped")
    assert caught.value.signal_number == number
    assert status(tmp_path / "stopped")["state"] == "interrupted"
    resumed = run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert resumed["train_images"] == whole["train_images"]
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("step", [0, 1, 2])
def test_accumulated_gradients_go_on_too(step: int, run: Run, tmp_path: Path) -> None:
    arguments = (*RANDOM, "+trainer.accumulate_grad_batches=3", "trainer.limit_train_batches=7")
    run(*arguments, *signal_at(step), folder="whole")
    with pytest.raises(Interrupted):
        run(*arguments, *signal_at(step, SIGINT), folder="stopped")
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_the_metrics_of_an_epoch_are_those_of_all_its_batches(stopped: Path, run: Run) -> None:
    run(f"resume={stopped}", folder="elsewhere")
    errors = [float(row["train/error"]) for row in rows(stopped) if row["train/error"]]
    assert len(errors) == 2
    assert all(error * 4 * 64 / 100 == pytest.approx(round(error * 4 * 64 / 100), abs=1e-3) for error in errors)


def test_what_was_typed_first_and_what_was_typed_last_are_known(stopped: Path, run: Run) -> None:
    run(f"resume={stopped}", folder="elsewhere")
    assert "sampling=random" in (stopped / "overrides.yaml").read_text()
    assert f"resume: {stopped}" in (stopped / "config.yaml").read_text()


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    stopped: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*RANDOM, folder="whole")
    last = stopped / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    capsys.readouterr()
    run(f"resume={stopped}", folder="elsewhere")
    said = capsys.readouterr().out
    assert f"{last}: is cut off, damaged, or no checkpoint" in said
    assert "Going on from before_last.ckpt" in said
    assert_same_run(tmp_path / "whole", stopped)


def test_without_a_good_checkpoint_it_begins_anew(
    stopped: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*RANDOM, folder="whole")
    for name in ("last.ckpt", "before_last.ckpt"):
        (stopped / "checkpoints" / name).write_bytes(b"")
    shutil.copy(stopped / "checkpoints/best.ckpt", stopped / "checkpoints/stray.ckpt")
    run(f"resume={stopped}", folder="elsewhere")
    said = capsys.readouterr().out
    assert said.count("is cut off, damaged, or no checkpoint") == 2
    assert "Beginning anew" in said
    assert not (stopped / "checkpoints/stray.ckpt").exists()
    assert "sampling=random" in (stopped / "overrides.yaml").read_text()
    assert_same_run(tmp_path / "whole", stopped)


def test_a_finished_run_is_not_run_again(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(*RANDOM)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert run(f"resume={tmp_path / 'run'}", folder="elsewhere") == first
    assert "is finished already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert status(tmp_path / "run")["state"] == "finished"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=vgg11_bn", "model._target_ is 'ccnn.models.Toy' there, now 'ccnn.models"),
        ("seed=3", "seed is 0 there, now 3"),
        ("optimizer.lr=0.5", "optimizer.lr is 0.1 there, now 0.5"),
        ("sampling=naive", "sampling.evaluation is 'lattice' there, now None"),
        ("convert=false", "convert is True there, now False"),
        ("data.batch_size=32", "data.batch_size is 64 there, now 32"),
        (
            "trainer.max_epochs=9",
            "trainer.max_epochs is 2 there, now 9. Take the override away, or choose another "
            "folder. The schedule belongs to its length: a longer training begins anew.",
        ),
        ("+optimizer.dampening=0.5", "optimizer.dampening is None there, now 0.5"),
        ("experiment=example", "there, now"),
    ],
)
def test_a_run_does_not_go_on_as_another(override: str, message: str, stopped: Path, run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*")}
    with pytest.raises(UserError, match=f"is the run of another configuration: .*{re.escape(message)}"):
        run(f"resume={stopped}", override, folder="elsewhere")
    assert {path: path.stat().st_mtime_ns for path in stopped.rglob("*")} == before


def test_where_and_how_it_runs_may_differ(stopped: Path, run: Run, tmp_path: Path) -> None:
    run(*RANDOM, folder="whole")
    moved = stopped.rename(tmp_path / "moved")
    elsewhere = ("data.root=/nowhere", "data.num_workers=1", "trainer.devices=1", "trainer=cpu", "debug=true")
    run(f"resume={moved}", *elsewhere, folder="elsewhere")
    assert "root: /nowhere" in (moved / "config.yaml").read_text()
    assert not stopped.exists()
    assert_same_run(tmp_path / "whole", moved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no folder of a run, it has no config.yaml"),
        (b"", "is no configuration of a run"),
        (b"- a list\n", "is no configuration of a run"),
        (b"model: [\n", "cannot be read"),
        (b"seed: 0\n", "is no configuration of a run"),
        (b"\xff\xfe\x00", "cannot be read: 'utf-8' codec"),
    ],
)
def test_what_is_no_run_is_refused(content: bytes | None, message: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    if content is not None:
        (folder / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"^resume: {folder}.* {message}"):
        run(f"resume={folder}", folder="elsewhere")
    with pytest.raises(UserError, match=f"^run: {folder}.* {message}"):
        evaluation_of(f"run='{folder}'")
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_that_is_running_is_refused(stopped: Path, run: Run) -> None:
    write_status(stopped, "running")
    content = status(stopped)
    content["process"] = os.getppid()
    del content["started"]
    (stopped / "status.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"is running, as process {os.getppid()} of .*status\.json"):
        run(f"resume={stopped}", folder="elsewhere")
    content["started"] = "1"  # another process has that number now
    (stopped / "status.json").write_text(json.dumps(content))
    run(f"resume={stopped}", folder="elsewhere")
    assert status(stopped)["state"] == "finished"


def test_a_run_of_another_machine_may_be_running_unless_slurm_has_moved_it(
    stopped: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    write_status(stopped, "running")
    (stopped / "status.json").write_text(json.dumps(status(stopped) | {"host": "elsewhere"}))
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    with pytest.raises(UserError, match=r"is running, as process .* of elsewhere"):
        run(f"resume={stopped}", folder="elsewhere")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    run(f"resume={stopped}", folder="elsewhere")
    assert metrics(stopped)["epochs"] == 2


@pytest.mark.parametrize(("minutes", "alive"), [(10, True), (20, False)])
def test_a_run_of_another_machine_is_given_up_when_it_is_silent(minutes: int, alive: bool, stopped: Path) -> None:
    write_status(stopped, "running")
    path = stopped / "status.json"
    path.write_text(json.dumps(status(stopped) | {"host": "elsewhere", "slurm_job": "16"}))
    os.utime(path, times=(time.time() - 60 * minutes,) * 2)
    assert read_status(stopped).state == ("running" if alive else "interrupted")


def test_a_run_gives_signs_of_life(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccnn.runs.status._BEAT", 0.01)
    os.utime(stopped / "status.json", times=(0, 0))
    with heartbeat(stopped):
        end = time.monotonic() + 10
        while time.monotonic() < end and (stopped / "status.json").stat().st_mtime == 0:
            time.sleep(0.01)
    assert (stopped / "status.json").stat().st_mtime > 0


def test_auto_takes_the_newest_unfinished_run_of_the_same_command(run: Run, tmp_path: Path) -> None:
    names = [f"digits_toy_{day}_10-00-00" for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")]
    for name, overrides in zip(names, ((), (), ("seed=3",), ()), strict=True):
        with pytest.raises(Interrupted):
            run(*RANDOM, *overrides, *signal_at(5, SIGINT), folder=name)
    (tmp_path / names[3] / "metrics.json").write_text("{}")  # finished
    run(*RANDOM, *signal_at(5, SIGINT), "resume=auto", folder="digits_toy_2026-01-05_10-00-00")
    states = [status(tmp_path / name)["state"] for name in names]
    assert states == ["interrupted", "finished", "interrupted", "interrupted"]
    assert not (tmp_path / "digits_toy_2026-01-05_10-00-00").exists()


def test_auto_begins_where_there_is_nothing_to_go_on_with(run: Run, tmp_path: Path) -> None:
    run(*RANDOM, "resume=auto", folder="digits_toy_2026-01-05_10-00-00")
    assert status(tmp_path / "digits_toy_2026-01-05_10-00-00")["state"] == "finished"


def test_a_checkpoint_of_another_network_is_refused(stopped: Path, run: Run, tmp_path: Path) -> None:
    run(*RANDOM, "model=toy_2x3x3", folder="other")
    for name in ("last.ckpt", "before_last.ckpt"):
        shutil.copy(tmp_path / "other/checkpoints/last.ckpt", stopped / "checkpoints" / name)
    with pytest.raises(UserError, match=r"is of another network: .* has the shape .* there, here"):
        run(f"resume={stopped}", folder="elsewhere")
    assert status(stopped)["state"] == "interrupted"


def test_the_states_of_a_run(run: Run, tmp_path: Path) -> None:
    run("trainer.max_epochs=1", "callbacks.pictures=null", folder="good")
    nan = ("model._target_=experiments.NanAt", "+model.calls=6", "~model.dropout", "~model.depth")
    with pytest.raises(UserError, match="Training diverged"):
        run(*nan, "callbacks.pictures=null", folder="bad")
    good, bad = status(tmp_path / "good"), status(tmp_path / "bad")
    assert (good["state"], good["error"]) == ("finished", None)
    assert bad["state"] == "failed"
    assert bad["error"].startswith("Training diverged: the loss is nan at step 6, in epoch 2")
    assert good["process"] == os.getpid()


def test_a_diverged_run_is_not_scored_and_names_its_last_good_checkpoint(run: Run, tmp_path: Path) -> None:
    nan = ("model._target_=experiments.NanAt", "~model.dropout", "~model.depth", "callbacks.pictures=null")
    with pytest.raises(UserError, match=f"The last good checkpoint is {tmp_path}/late/checkpoints/last.ckpt"):
        run(*nan, "+model.calls=5", folder="late")
    assert not (tmp_path / "late/metrics.json").exists()
    assert (tmp_path / "late/checkpoints/last.ckpt").exists()
    with pytest.raises(UserError, match=r"at step 1, in epoch 1.*There is no good checkpoint yet"):
        run(*nan, "+model.calls=1", folder="early")
    assert not list((tmp_path / "early").rglob("*.ckpt"))


def test_two_runs_side_by_side_do_not_disturb_each_other(run: Run, tmp_path: Path) -> None:
    """The one is stopped, the other runs, the one goes on: as if it had been alone."""
    run(*RANDOM, "seed=1", folder="alone")
    with pytest.raises(Interrupted):
        run(*RANDOM, "seed=1", *signal_at(2, SIGINT), folder="one")
    run(*RANDOM, "seed=2", folder="two")
    run(f"resume={tmp_path / 'one'}", folder="elsewhere")
    assert_same_run(tmp_path / "alone", tmp_path / "one")
    assert metrics(tmp_path / "two")["test/loss"] != metrics(tmp_path / "one")["test/loss"]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resume", ["null", "auto"])
def test_a_folder_that_holds_other_things_is_refused(resume: str, run: Run, tmp_path: Path) -> None:
    other = tmp_path / "run/another_run/checkpoints/last.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("of another run")
    before = files(tmp_path)
    with pytest.raises(
        UserError, match=f"{tmp_path}/run: holds other files, such as another_run; .*hydra.run.dir="
    ):
        run(*RANDOM, f"resume={resume}")
    assert files(tmp_path) == before


def test_beginning_anew_leaves_what_no_run_writes(stopped: Path, run: Run) -> None:
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "notes").mkdir()
    (stopped / "notes/mine.txt").write_text("mine")
    (stopped / "events.out.tfevents.1").write_text("stray")
    run(f"resume={stopped}", folder="elsewhere")
    assert (stopped / "notes/mine.txt").read_text() == "mine"
    assert not (stopped / "events.out.tfevents.1").exists()


def is_locked(folder: Path) -> bool:
    """Whether another process is kept out."""
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return (
        subprocess.run([sys.executable, "-c", program, str(folder / LOCK)], stderr=subprocess.DEVNULL).returncode
        != 0
    )


def test_a_folder_is_locked_before_data_are_read(
    stopped: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ccnn.training.build import build_data

    seen = []

    def watched(config: Any) -> Any:
        seen.append(is_locked(Path(config.output_dir)))
        return build_data(config)

    monkeypatch.setattr("ccnn.training.run.build_data", watched)
    (tmp_path / "new").mkdir()
    run(*RANDOM, folder="new")
    run(f"resume={stopped}", folder="elsewhere")
    assert seen == [True, True]
    assert not (tmp_path / "new" / LOCK).exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_locked_folder_is_refused_until_its_process_dies(
    known: bool, stopped: Path, run: Run, tmp_path: Path
) -> None:
    """The status says that it was interrupted, or nothing yet: the other process is still reading its data."""
    folder = stopped if known else tmp_path / "new"
    folder.mkdir(exist_ok=True)
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('17 of elsewhere', file=file, end='', flush=True); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder / LOCK)]
    arguments = (f"resume={stopped}",) if known else RANDOM
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = files(folder)
        with pytest.raises(UserError, match=f"{folder}: is running, as process 17 of elsewhere"):
            run(*arguments, folder="new")
        assert files(folder) == before
        other.kill()
    run(*arguments, folder="new")
    assert status(folder)["state"] == "finished"


def changed(path: Path, **entries: Any) -> None:
    """Gives a checkpoint other entries; None takes one away."""
    checkpoint = torch.load(path, weights_only=True) | entries
    torch.save({name: value for name, value in checkpoint.items() if value is not None}, path)


def test_another_number_of_processes_is_refused(stopped: Path, run: Run) -> None:
    last = stopped / "checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["processes"] == 1
    changed(last, processes=2)
    with pytest.raises(
        UserError, match=f"{stopped}: was trained by 2 processes, now 1; resume with trainer.devices=2"
    ):
        run(f"resume={stopped}", folder="elsewhere")
    assert status(stopped)["state"] == "interrupted"
    changed(last, processes=None)  # of an older program
    run(f"resume={stopped}", folder="elsewhere")


@pytest.mark.parametrize("validation", [(), ("data.validation_fraction=0",)])
def test_weights_that_the_last_step_has_spoilt_are_neither_saved_nor_scored(
    validation: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    spoil = ("+callbacks.spoil._target_=experiments.SpoilAt", "+callbacks.spoil.step=7", "callbacks.pictures=null")
    with pytest.raises(
        UserError, match=rf"diverged: weights or .* after step 8, in epoch 2.*{tmp_path}/run/.*last\.ckpt"
    ):
        run(*spoil, *validation)
    assert status(tmp_path / "run")["state"] == "failed"
    assert not (tmp_path / "run/metrics.json").exists()
    for path in tmp_path.glob("run/checkpoints/*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(weight.isfinite().all()) for weight in weights.values())


def test_a_huge_learning_rate_is_no_result(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Training diverged: .*\(optimizer\.lr=…\)\. There is no good checkpoint yet\.$"
    ):
        run("optimizer.lr=1e30", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    assert not (tmp_path / "run/metrics.json").exists()
    with pytest.raises(UserError, match=r"The test loss is .*diverged"):
        run("optimizer.lr=1e30", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "callbacks=none",
            "data.validation_fraction=0", "optimizer.nesterov=false", folder="inf")  # fmt: skip


@pytest.mark.parametrize("at_first", [True, False])
def test_a_run_goes_on_through_a_symlink(at_first: bool, run: Run, tmp_path: Path) -> None:
    worse = ("optimizer.lr=4", "callbacks.pictures=null")  # in the second epoch, so that the first is the best
    whole = run(*worse, *signal_at(5), folder="whole")
    assert whole["best_epoch"] == 1
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with pytest.raises(Interrupted):
        run(*worse, *signal_at(5, SIGINT), folder="link/run" if at_first else "disk/run")
    config = tmp_path / "disk/run/config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGINT)}", "number: 0"))
    run(f"resume={tmp_path}/{'disk' if at_first else 'link'}/run", folder="elsewhere")
    assert_same_run(tmp_path / "whole", tmp_path / "disk/run")


def test_a_result_without_the_note_that_it_is_finished_gets_it(run: Run, tmp_path: Path) -> None:
    first = run(*RANDOM)
    content = status(tmp_path / "run") | {"state": "running", "process": 2**22 + 1}
    (tmp_path / "run/status.json").write_text(json.dumps(content))
    assert run(f"resume={tmp_path / 'run'}", folder="elsewhere") == first
    assert status(tmp_path / "run")["state"] == "finished"


@pytest.mark.parametrize("where", ["go_on", "heading", "the end"])
def test_a_failure_before_or_after_the_training_is_noted(
    where: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("as a test")

    monkeypatch.setattr(f"ccnn.training.run.{'_record' if where == 'the end' else where}", fails)
    with pytest.raises(RuntimeError, match="as a test"):
        run(*RANDOM, "trainer.max_epochs=1")
    assert status(tmp_path / "run")["state"] == "failed"
    assert status(tmp_path / "run")["error"] == "RuntimeError: as a test"


@pytest.mark.parametrize("step", [3, 7])
def test_the_end_of_an_epoch_is_saved_for_an_interruption_though_not_due(
    step: int, run: Run, tmp_path: Path
) -> None:
    rarely = (*RANDOM, "callbacks.last_checkpoint.every_n_epochs=50")
    run(*rarely, *signal_at(step), folder="whole")
    with pytest.raises(Interrupted, match="To go on: "):
        run(*rarely, *signal_at(step, SIGTERM), folder="stopped")
    checkpoint = torch.load(tmp_path / "stopped/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == step + 1
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert same(state(tmp_path / "stopped", "best.ckpt"), state(tmp_path / "whole", "best.ckpt"))


def test_a_long_validation_is_not_waited_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*RANDOM, *signal_at(7), folder="whole")
    monkeypatch.setattr("ccnn.runs.signals._PATIENCE", -1)
    with pytest.raises(Interrupted, match=r"epoch 2, step 8\. The validation .* done again\. To go on"):
        run(*RANDOM, *signal_at(7, SIGTERM), folder="stopped")
    assert "Stopping after this batch; again to stop at once." in capfd.readouterr().err
    assert torch.load(tmp_path / "stopped/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGTERM)}", "number: 0"))
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_sweep_goes_on_by_its_own_command(compose: Compose, tmp_path: Path) -> None:
    from ccnn.training.run import run as run_experiment

    with pytest.raises(Interrupted, match="To go on: the same command again"):
        run_experiment(compose(*SMALL, *RANDOM, *signal_at(5, SIGINT)), tmp_path / "run", sweep=True)


def test_damaged_best_weights_are_trained_anew(
    stopped: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*RANDOM, folder="whole")
    best = stopped / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:-1000])
    run(f"resume={stopped}", folder="elsewhere")
    assert re.search(f"{best}: is cut off, damaged, or no checkpoint.*Beginning anew", capsys.readouterr().out)
    assert_same_run(tmp_path / "whole", stopped)


@pytest.mark.parametrize("content", ['{"test/err', "{}", '{"test/error": "low", "val/error": 1.0}'])
def test_a_damaged_result_is_found_again(
    content: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(*RANDOM)
    (tmp_path / "run/metrics.json").write_text(content)
    again = run(f"resume={tmp_path / 'run'}", folder="elsewhere")
    assert "The run is tested again" in capsys.readouterr().out
    assert again["test/loss"] == first["test/loss"]
    assert metrics(tmp_path / "run")["test/loss"] == first["test/loss"]


@pytest.mark.parametrize(
    "parts",
    [
        {"state_dict": [1]},
        {"state_dict": {"model.weight": 1}},
        {"loops": []},
        {"callbacks": []},
        {"hyper_parameters": None},
        {"global_step": "1"},
    ],
)
def test_a_checkpoint_of_another_shape_is_none(parts: dict[str, Any], tmp_path: Path) -> None:
    whole = {"state_dict": {"model.weight": torch.zeros(1)}, "loops": {}, "global_step": 1, "callbacks": {}}
    torch.save(whole, tmp_path / "good.ckpt")
    assert read_checkpoint(tmp_path / "good.ckpt").keys() == whole.keys()
    torch.save(whole | parts, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"bad\.ckpt: is no checkpoint of a run of train\.py"):
        read_checkpoint(tmp_path / "bad.ckpt")


def test_another_machine_is_told_and_noted(stopped: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    path = stopped / "environment.json"
    environment = json.loads(path.read_text())
    environment["threads"] += 1
    path.write_text(json.dumps(environment))
    run(f"resume={stopped}", folder="elsewhere")
    threads = environment["threads"]
    said = f"threads is {threads - 1} here, was {threads}: the result will not be the same bit for bit."
    assert said in capsys.readouterr().out
    after = json.loads(path.read_text())
    assert after["threads"] == threads
    assert [entry["threads"] for entry in after["resumed"]] == [threads - 1]


def test_a_file_system_without_links(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", fails)
    run(*RANDOM)
    epochs = [state(tmp_path / "run", name)["epoch"] for name in ("before_last.ckpt", "last.ckpt")]
    assert epochs == [0, 1]


@pytest.mark.parametrize("override", ["filename=latest", "dirpath=/elsewhere"])
def test_the_last_checkpoint_is_where_resume_looks(override: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"callbacks.last_checkpoint.*where resume looks"):
        run(f"callbacks.last_checkpoint.{override}")
    assert not (tmp_path / "run").exists()


def test_the_trainer_of_the_machine_can_be_chosen(stopped: Path, run: Run) -> None:
    config = stopped / "config.yaml"
    config.write_text(config.read_text().replace("accelerator: cpu", "accelerator: gpu"))
    run(f"resume={stopped}", "trainer=cpu", folder="elsewhere")
    assert "accelerator: cpu" in config.read_text()


def test_the_folder_of_a_renamed_file_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(stat.S_ISDIR(os.fstat(file).st_mode)))
    write_text(tmp_path / "file.txt", "content")
    assert synced == [False, True]
