"""Where a run goes on, where it begins anew, and what is refused."""

import json
import os
import re
import shutil
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest
from experiments import Run, signal_at
from run_results import assert_same_run, metrics, rows, status

from ccnn.errors import UserError
from ccnn.runs.interruption import Interrupted
from ccnn.runs.status import write_status

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
        ("trainer.max_epochs=9", "trainer.max_epochs is 2 there, now 9"),
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


@pytest.mark.parametrize("content", [None, "", "- a list\n", "model: [\n", "seed: 0\n"])
def test_what_is_no_run_is_refused(content: str | None, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    if content is not None:
        (folder / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=f"resume: {folder}.*(no folder of a run|cannot be read|no configuration)"):
        run(f"resume={folder}", folder="elsewhere")
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
    with pytest.raises(UserError, match=r"at step 1, in epoch 1.*none: there was no epoch"):
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
