"""What users of Hydra and Lightning do next: other checkpoints, schedules, losses, data modules and loggers."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT

import pytest
import torch
from experiments import SMALL, Compose, Run, signal_at
from omegaconf import OmegaConf
from run_results import assert_same_run
from seams import Session, WeightWatcher
from torch import nn

from ccnn.config import validate
from ccnn.errors import UserError
from ccnn.runs.signals import Interrupted
from ccnn.training.run import run as run_experiment

WATCH = "+callbacks.watcher._target_=seams.WeightWatcher"
QUIET = ("callbacks.pictures=null", "logger=csv")


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.parametrize(
    ("changes", "curve", "best", "chosen_by"),
    [
        (("save_top_k=3",), "val/error", min, "lowest val/error"),
        (("mode=max",), "val/error", max, "highest val/error"),
        (("monitor=train/loss", "mode=max"), "train/loss", max, "highest train/loss"),
    ],
)
def test_tested_is_what_the_callback_chose(
    changes: tuple[str, ...],
    curve: str,
    best: Callable[[list[float]], float],
    chosen_by: str,
    run: Run,
    tmp_path: Path,
) -> None:
    overrides = [f"++callbacks.best_checkpoint.{change}" for change in changes]
    metrics = run(*QUIET, *overrides, WATCH, "trainer.max_epochs=3", "optimizer.lr=0.2")
    values = column(tmp_path / "run", curve)
    epoch = 1 + values.index(best(values))
    assert (metrics["best_epoch"], metrics["chosen_by"]) == (epoch, chosen_by)
    assert torch.equal(WeightWatcher.tested, WeightWatcher.steps[4 * epoch - 1])
    assert metrics["val/error"] == pytest.approx(column(tmp_path / "run", "val/error")[epoch - 1], abs=1e-3)
    saved = list((tmp_path / "run/checkpoints").glob("best*.ckpt"))
    assert len(saved) == (3 if "save_top_k=3" in changes else 1)


def test_an_epoch_without_validation_shows_and_saves_no_old_error(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = ("callbacks.best_checkpoint.monitor=train/loss", "callbacks.best_checkpoint.mode=min")
    metrics = run(*QUIET, *monitor, "+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert ["val error" in line for line in lines] == [False, True, False]
    losses = column(tmp_path / "run", "train/loss")
    assert metrics["best_epoch"] == 1 + losses.index(min(losses))
    assert (metrics["val/error"] is None) == (metrics["best_epoch"] != 2)


def test_max_steps_in_mid_epoch_ends_in_a_validation(run: Run, tmp_path: Path) -> None:
    metrics = run(*QUIET, "+trainer.max_steps=6")
    assert len(column(tmp_path / "run", "val/error")) == 2
    assert (metrics["images_seen"], metrics["epochs"]) == (6 * 64, 2)


def test_images_are_counted_and_accumulated_steps_logged_once(run: Run, tmp_path: Path) -> None:
    metrics = run(*QUIET, "+trainer.accumulate_grad_batches=2", "trainer.log_every_n_steps=1")
    assert metrics["images_seen"] == 2 * 4 * 64
    assert len(column(tmp_path / "run", "train/loss_step")) == 4


@pytest.mark.parametrize("scheduler", ["one_cycle", "warmup_cosine"])
def test_a_schedule_per_step_moves_in_every_step(scheduler: str, run: Run, tmp_path: Path) -> None:
    options = ("callbacks=[default,lr_monitor]", f"scheduler={scheduler}", "trainer.log_every_n_steps=1")
    run(*QUIET, *options)
    rates = column(tmp_path / "run", "lr-SGD")
    assert len(set(rates)) == len(rates) == 8
    assert max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[-1] < 0.02, "the schedule ends with the training"


def test_a_schedule_may_watch_a_metric(run: Run, tmp_path: Path) -> None:
    options = ("scheduler=plateau", "scheduler.patience=0", "scheduler.monitor=val/error", "optimizer.lr=0.3")
    run(*QUIET, *options, "trainer.max_epochs=4")
    oracle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(oracle, factor=0.1, patience=0)
    expected = []
    for error in column(tmp_path / "run", "val/error"):
        expected.append(oracle.param_groups[0]["lr"])
        plateau.step(error)
    assert column(tmp_path / "run", "lr") == pytest.approx(expected)


def test_a_schedule_cannot_watch_what_there_is_not(run: Run) -> None:
    with pytest.raises(UserError, match=r"scheduler\.monitor: val/loss needs validation images"):
        run("scheduler=plateau", "data.validation_fraction=0")
    with pytest.raises(UserError, match=r"scheduler\.monitor: there is no 'val_loss'; did you mean 'val/loss'"):
        run("scheduler=plateau", "scheduler.monitor=val_loss")


def test_the_moving_average_is_what_is_tested(run: Run) -> None:
    metrics = run(*QUIET, WATCH, "callbacks=[default,ema]", "callbacks.best_checkpoint=null")
    average = WeightWatcher.steps[0]
    for number, weights in enumerate(WeightWatcher.steps[1:], start=1):
        keep = min(0.999, (1 + number) / (10 + number))
        average = keep * average + (1 - keep) * weights
    torch.testing.assert_close(WeightWatcher.tested, average, rtol=1e-4, atol=1e-6)
    assert metrics["chosen_by"] is None


def test_the_stochastic_average_is_what_is_validated_and_tested(run: Run, tmp_path: Path) -> None:
    """Of four epochs with start=0.5 those that end after half of the training: the third and the fourth."""
    options = ("callbacks=[default,swa]", "callbacks.swa.start=0.5", "trainer.max_epochs=4")
    run(*QUIET, WATCH, *options, "callbacks.best_checkpoint=null")
    ends = WeightWatcher.steps[3::4]
    torch.testing.assert_close(WeightWatcher.tested, (ends[2] + ends[3]) / 2, rtol=1e-4, atol=1e-6)
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    names = [name for name in last if not name.endswith(("running_mean", "running_var", "tracked"))]
    saved = torch.cat([last[name].double().flatten() for name in names])
    assert torch.equal(saved, WeightWatcher.tested)


def test_lightnings_own_average_is_tested_too(run: Run) -> None:
    swa = "+callbacks.swa={_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.01}"
    metrics = run(*QUIET, WATCH, swa, "trainer.max_epochs=3")
    assert metrics["chosen_by"] is None
    assert not torch.equal(WeightWatcher.tested, WeightWatcher.steps[3 * 4 - 1]), (
        "these are the last weights trained"
    )


def test_loggers_are_finished_when_the_run_is(run: Run) -> None:
    before = Session.finished
    run("logger=none", "+logger.mine._target_=seams.SessionLogger", "trainer.max_epochs=1")
    assert Session.finished == before + 1


@pytest.mark.parametrize("scheduler", ["constant", "one_cycle"])
def test_a_plain_data_module_trains_and_leaves_a_record(scheduler: str, compose: Compose, tmp_path: Path) -> None:
    network = ("model._target_=experiments.flat_network", "~model.dropout", "~model.depth", "model.in_channels=1")
    config = compose(*SMALL, *QUIET, *network, "model.num_classes=4", f"scheduler={scheduler}")
    config.data = {"_target_": "seams.PlainData", "recipe": {"max_epochs": 2, "lr": 0.01, "weight_decay": 0.0}}
    validate(config)
    metrics = run_experiment(config, tmp_path / "run")
    assert (metrics["train_images"], metrics["batch_size"]) == (96, None)
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics


def test_an_optimizer_needs_no_weight_decay(run: Run) -> None:
    gone = ("~optimizer.momentum", "~optimizer.nesterov", "~optimizer.weight_decay")
    run(*QUIET, "optimizer._target_=torch.optim.Rprop", "optimizer.lr=0.001", *gone, "trainer.max_epochs=1")


def test_norms_and_biases_can_be_spared_from_weight_decay(run: Run, tmp_path: Path) -> None:
    run(*QUIET, "optimizer.decay_norm_and_bias=false", "trainer.max_epochs=1")
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    groups = state["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.0001, 0.0]
    parameters = [value for name, value in state["state_dict"].items() if name.endswith(("weight", "bias"))]
    assert len(groups[0]["params"]) == sum(value.ndim > 1 for value in parameters)
    assert len(groups[1]["params"]) == sum(value.ndim == 1 for value in parameters)


def test_arguments_of_a_callback_may_have_integer_keys(run: Run, tmp_path: Path) -> None:
    accumulate = "{_target_: pytorch_lightning.callbacks.GradientAccumulationScheduler, scheduling: {0: 4}}"
    run(*QUIET, f"+callbacks.accumulate={accumulate}")
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


def test_keys_of_ones_own_are_kept(run: Run, tmp_path: Path) -> None:
    run(*QUIET, "+tags=[a,b]", "trainer.max_epochs=1")
    assert OmegaConf.load(tmp_path / "run/config.yaml").tags == ["a", "b"]


def test_the_modern_recipe_trains_and_resumes_bit_for_bit(run: Run, tmp_path: Path) -> None:
    modern = ("experiment=modern", "callbacks.pictures=null", "convert=true", "sampling=random",
              "data.augment=randaugment")  # fmt: skip
    run(*modern, *signal_at(5), folder="whole")
    with pytest.raises(Interrupted):
        run(*modern, *signal_at(5, SIGINT), folder="stopped")
    config = tmp_path / "stopped/config.yaml"
    config.write_text(re.sub(r"number: \d+", "number: 0", config.read_text()))
    run(f"resume={tmp_path / 'stopped'}", folder="elsewhere")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixed_images_are_trained_on_and_loss_and_error_stay_comparable(
    mix: str, run: Run, tmp_path: Path
) -> None:
    metrics = run(*QUIET, f"mix={mix}", "loss=label_smoothing", "trainer.gradient_clip_val=1.0")
    assert 0 <= metrics["test/error"] <= 100
    assert max(column(tmp_path / "run", "train/error")) <= 100
