"""Runs of train.py are scored as they were trained and in other forms."""

import shutil
from pathlib import Path

import pytest
import torch
from evaluations import evaluated, evaluation_of
from experiments import Compose, Run
from omegaconf import OmegaConf

from ccnn.errors import UserError
from ccnn.evaluation.weights import _without_weights


def test_a_run_is_scored_as_trained_and_in_other_forms(run: Run, tmp_path: Path) -> None:
    longer = ("++trainer.limit_train_batches=1.0", "data.batch_size=32", "callbacks.pictures=null")
    metrics = run(
        "trainer.max_epochs=1", "convert=true", "sampling=random", "sampling.evaluation=three_quarters", *longer
    )
    overrides = (f"run={tmp_path / 'run'}", "sampling=naive", "evaluation.device=cpu", "data.eval_batch_size=99")
    result = evaluated(tmp_path / "out", *overrides)
    rows = {row.network: row for row in result.networks}
    assert list(rows) == ["CNN", "CCNN three_quarters", "CCNN naive"]
    assert [row.as_trained for row in rows.values()] == [False, True, False]
    assert rows["CCNN three_quarters"].top1_error == pytest.approx(metrics["test/error"], abs=1e-3)
    assert rows["CCNN three_quarters"].multiply_adds == metrics["multiply_adds"]
    assert rows["CNN"].multiply_adds == metrics["plain_multiply_adds"]
    assert rows["CNN"].top1_error != rows["CCNN three_quarters"].top1_error
    assert (result.weights, result.images, result.batch_size) == ("best.ckpt", 500, 99)
    assert result.parameters == metrics["parameters"]


def test_a_plain_run_is_the_plain_network_and_its_last_weights_serve_too(run: Run, tmp_path: Path) -> None:
    metrics = run("data.validation_fraction=0", "callbacks.pictures=null")
    result = evaluated(tmp_path / "out", f"run={tmp_path / 'run'}", "sampling.skip_first=0")
    assert result.weights == "last.ckpt"
    assert [row.as_trained for row in result.networks] == [True, False, False]
    assert result.networks[0].top1_error == pytest.approx(metrics["test/error"], abs=1e-3)


def test_one_of_a_runs_checkpoints_can_be_named_and_the_protocol_is_kept(run: Run, tmp_path: Path) -> None:
    run("callbacks.pictures=null", "protocol=paper")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert (checkpoints / "best.ckpt").is_file()
    shutil.copy(checkpoints / "last.ckpt", checkpoints / "other.ckpt")
    saved = torch.load(checkpoints / "other.ckpt", weights_only=False)
    saved["state_dict"]["model.classifier.bias"] = torch.tensor([100.0] + [0.0] * 9)  # everything is a 0
    torch.save(saved, checkpoints / "other.ckpt")
    result = evaluated(tmp_path / "out", f"run={checkpoints / 'other.ckpt'}", "sampling=naive")
    assert (result.weights, result.run, result.protocol) == ("other.ckpt", str(tmp_path / "run"), "paper")
    assert result.networks[0].top1_error == pytest.approx(90, abs=2)
    with pytest.raises(UserError, match=r"no\.ckpt: there is no such file; expected a run's folder or one of its"):
        evaluation_of(f"run={checkpoints / 'no.ckpt'}")


def test_a_run_that_began_with_published_weights_needs_them_no_more(compose: Compose) -> None:
    config = compose("data=imagenet", "data.num_classes=5", "model=torchvision", "model.name=googlenet")
    assert not _without_weights(config).transform_input
    config.model.weights = "DEFAULT"
    assert _without_weights(config).transform_input  # what torchvision's own weights of it want of the images
    assert config.model.weights == "DEFAULT"


def test_a_run_that_cannot_be_used_is_explained(compose: Compose, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    config = compose()
    config.output_dir = str(folder)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)  # and no checkpoint, as callbacks=none leaves it

    def refused(message: str, *words: str) -> None:
        with pytest.raises(UserError, match=message):
            evaluated(tmp_path / "out", f"run={folder}", *words)
        assert not (tmp_path / "out").exists()

    refused("holds neither checkpoints/best.ckpt nor checkpoints/last.ckpt")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/last.ckpt").write_bytes(b"PK\x03\x04 and no more")
    refused(r"last.ckpt: is cut off, damaged, or no checkpoint")
    state = {"state_dict": {"model.weight": torch.zeros(1)}, "loops": {}, "global_step": 1}
    torch.save(state, folder / "checkpoints/last.ckpt")
    refused(r"last.ckpt does not fit the network of .*config.yaml, toy")
    refused("model: cannot be changed, run=.* brings its own; remove model=toy", "model=toy")
    refused("seed: cannot be changed", "seed=3")
    (folder / "config.yaml").unlink()
    refused("is no folder of a run, it has no config.yaml")
    with pytest.raises(UserError, match="nowhere is no folder; expected one"):
        evaluation_of(f"run={tmp_path / 'nowhere'}")
