"""A run that is stopped at any moment and resumed ends as one that was never stopped."""

import json
import os
import re
import shutil
import stat
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest
import torch
from experiments import RANDOM, SMALL, Compose, Run, signal_at
from run_results import assert_same_run, metrics, rows, same, state, status

from ccnn.errors import UserError
from ccnn.files import write_text
from ccnn.runs import allowed_targets
from ccnn.runs.checkpoints import read_checkpoint
from ccnn.runs.signals import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("step", "number"),
    [pytest.param(0, SIGINT, marks=slow), (3, SIGTERM), (5, SIGINT), pytest.param(7, SIGTERM, marks=slow)],
)
def test_a_run_interrupted_in_any_step_ends_as_one_that_was_not(
    step: int, number: Signals, whole: Path, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match=rf"Interrupted in epoch .*resume={tmp_path}/stopped") as caught:
        run(*RANDOM, *signal_at(step, number), folder="stopped")
    assert caught.value.signal_number == number
    assert status(tmp_path / "stopped")["state"] == "interrupted"
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(whole, tmp_path / "stopped")
    assert not (tmp_path / "elsewhere").exists()


@slow
def test_accumulated_gradients_are_resumed_too(run: Run, tmp_path: Path) -> None:
    arguments = (*RANDOM, "+trainer.accumulate_grad_batches=3", "trainer.limit_train_batches=7")
    run(*arguments, *signal_at(1), folder="whole")
    with pytest.raises(Interrupted):
        run(*arguments, *signal_at(1, SIGINT), folder="stopped")
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_resumed_run_knows_all_its_batches_and_what_was_typed(stopped: Path, run: Run) -> None:
    run(f"resume={stopped}", folder="elsewhere")
    wrong = [float(row["train/error"]) * 4 * 64 / 100 for row in rows(stopped) if row["train/error"]]
    assert wrong == pytest.approx([round(number) for number in wrong], abs=1e-3), "not of whole images"
    assert len(wrong) == 2
    assert "sampling=random" in (stopped / "overrides.yaml").read_text()
    assert f"resume: {stopped}" in (stopped / "config.yaml").read_text()


def test_the_printed_command_resumes_a_run_with_classes_of_ones_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed_targets, "_usual", lambda target: not target.startswith("experiments."))
    with pytest.raises(Interrupted, match=r"resume=.*/stopped trust=true"):
        run(*RANDOM, *signal_at(1, SIGINT), folder="stopped")
    with pytest.raises(UserError, match=r"callbacks\.stop\._target_ is 'experiments\.SignalAt'.*add trust=true"):
        run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    run(f"resume={tmp_path / 'stopped'}", "trust=true", folder="elsewhere")
    assert status(tmp_path / "stopped")["state"] == "finished"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    stopped: Path, whole: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = stopped / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    capsys.readouterr()
    run(f"resume={stopped}", folder="elsewhere")
    message = capsys.readouterr().out
    assert f"{last}: is cut off, damaged, or no checkpoint" in message
    assert "Resuming from before_last.ckpt" in message
    assert_same_run(whole, stopped)


@slow
def test_without_a_good_checkpoint_it_starts_from_the_beginning(
    stopped: Path, whole: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("last.ckpt", "before_last.ckpt"):
        (stopped / "checkpoints" / name).write_bytes(b"")
    shutil.copy(stopped / "checkpoints/best.ckpt", stopped / "checkpoints/stray.ckpt")
    run(f"resume={stopped}", folder="elsewhere")
    message = capsys.readouterr().out
    assert message.count("is cut off, damaged, or no checkpoint") == 2
    assert "Starting from the beginning" in message
    assert not (stopped / "checkpoints/stray.ckpt").exists()
    assert "sampling=random" in (stopped / "overrides.yaml").read_text()
    assert_same_run(whole, stopped)


def test_where_and_how_it_runs_may_differ(stopped: Path, whole: Path, run: Run, tmp_path: Path) -> None:
    moved = stopped.rename(tmp_path / "moved")
    elsewhere = ("data.root=/nowhere", "data.num_workers=1", "trainer.devices=1", "trainer=cpu", "debug=true")
    run(f"resume={moved}", *elsewhere, folder="elsewhere")
    assert "root: /nowhere" in (moved / "config.yaml").read_text()
    assert not stopped.exists()
    assert_same_run(whole, moved)


@slow
def test_starting_from_the_beginning_leaves_what_no_run_writes(stopped: Path, run: Run) -> None:
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "notes").mkdir()
    (stopped / "notes/mine.txt").write_text("mine")
    (stopped / "events.out.tfevents.1").write_text("stray")
    run(f"resume={stopped}", folder="elsewhere")
    assert (stopped / "notes/mine.txt").read_text() == "mine"
    assert not (stopped / "events.out.tfevents.1").exists()


@slow
@pytest.mark.parametrize("at_first", [True, False])
def test_a_run_is_resumed_through_a_symlink(at_first: bool, whole: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with pytest.raises(Interrupted):
        run(*RANDOM, *signal_at(5, SIGINT), folder="link/run" if at_first else "disk/run")
    config = tmp_path / "disk/run/config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGINT)}", "number: 0"))
    run(f"resume={tmp_path}/{'disk' if at_first else 'link'}/run", folder="elsewhere")
    assert_same_run(whole, tmp_path / "disk/run")


@slow
def test_the_end_of_an_epoch_is_saved_for_an_interruption_though_not_due(run: Run, tmp_path: Path) -> None:
    step = 3
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


@slow
def test_a_long_validation_is_not_waited_for(
    whole: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ccnn.runs.signals._PATIENCE", -1)
    with pytest.raises(Interrupted, match=r"epoch 2, step 8\. The validation .* repeated\. To go on"):
        run(*RANDOM, *signal_at(7, SIGTERM), folder="stopped")
    assert "Stopping after this batch; again to stop at once." in capfd.readouterr().err
    assert torch.load(tmp_path / "stopped/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace(f"number: {int(SIGTERM)}", "number: 0"))
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(whole, tmp_path / "stopped")


@slow
def test_a_sweep_goes_on_by_its_own_command(compose: Compose, tmp_path: Path) -> None:
    from ccnn.training.run import run as run_experiment

    with pytest.raises(Interrupted, match="To go on: the same command again"):
        run_experiment(compose(*SMALL, *RANDOM, *signal_at(5, SIGINT)), tmp_path / "run", sweep=True)


@slow
def test_damaged_best_weights_are_trained_again(
    stopped: Path, whole: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = stopped / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:-1000])
    run(f"resume={stopped}", folder="elsewhere")
    assert re.search(
        f"{best}: is cut off, damaged, or no checkpoint.*Starting from the beginning", capsys.readouterr().out
    )
    assert_same_run(whole, stopped)


@slow
def test_a_damaged_result_is_computed_again(
    finished: Path, whole: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "metrics.json").write_text('{"test/err')
    run(f"resume={finished}", folder="elsewhere")
    assert "The run is tested again" in capsys.readouterr().out
    assert metrics(finished)["test/loss"] == metrics(whole)["test/loss"]


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


@slow
def test_another_machine_is_reported_and_recorded(
    stopped: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stopped / "environment.json"
    environment = json.loads(path.read_text())
    environment["threads"] += 1
    path.write_text(json.dumps(environment))
    run(f"resume={stopped}", folder="elsewhere")
    threads = environment["threads"]
    message = f"threads is {threads - 1} here, was {threads}: the result will not be the same bit for bit."
    assert message in capsys.readouterr().out
    after = json.loads(path.read_text())
    assert after["threads"] == threads
    assert [entry["threads"] for entry in after["resumed"]] == [threads - 1]


@slow
def test_a_file_system_without_links(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", fails)
    run(*RANDOM)
    epochs = [state(tmp_path / "run", name)["epoch"] for name in ("before_last.ckpt", "last.ckpt")]
    assert epochs == [0, 1]


@slow
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
