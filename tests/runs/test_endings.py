"""How a run ends is in its status.json: finished, failed, or diverged without a result."""

import os
from pathlib import Path

import pytest
import torch
from experiments import RANDOM, Run
from run_results import status

from ccnn.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*does not have many workers")]


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
