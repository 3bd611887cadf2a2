"""Whole runs on the digits, a few batches long: what they compute and what they leave behind."""

import csv
import json
import warnings
from pathlib import Path

import pytest
import torch
from experiments import SMALL, Compose, Run
from omegaconf import OmegaConf

import ccnn
from ccnn.errors import UserError
from ccnn.training.build import build, build_data
from ccnn.training.classifier import Classifier

pytestmark = pytest.mark.slow


def test_a_converted_run_leaves_all_that_is_needed_to_know_and_repeat_it(run: Run, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = run("convert=true")
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    expected = {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "conversion.txt",
        "metrics.json",
        "metrics.csv",
    }
    assert expected <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.endswith(".tmp") for name in names)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "before_last.ckpt",
    }

    assert json.loads((folder / "metrics.json").read_text()) == metrics
    config = OmegaConf.load(folder / "config.yaml")
    assert config.convert is True
    assert config.trainer.max_epochs == 2
    assert OmegaConf.load(folder / "overrides.yaml") == ["convert=true"]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert environment["seed"] == 0
    assert "submaps" in (folder / "conversion.txt").read_text()

    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for column in ("train/error", "train/loss", "val/error", "val/loss", "lr", "system/images_per_second"):
        assert sum(row[column] != "" for row in rows) == 2, column
    assert sum(row["test/error"] != "" for row in rows) == 1
    assert metrics["parameters"] == 67_913
    assert 1 < metrics["multiply_adds_ratio"] < 2


def test_the_test_error_is_that_of_the_best_checkpoint(run: Run, compose: Compose, tmp_path: Path) -> None:
    metrics = run("convert=true", "sampling=lattice")
    checkpoint = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    config = compose(*SMALL)
    model = ccnn.convert(build(config, "model"), (1, 16, 16), sampling="lattice")
    weights = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    model.load_state_dict(weights)
    model.eval()
    data = build_data(config)
    wrong = total = 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            images, labels = data.on_after_batch_transfer(batch, 0)
            wrong += int((model(images).argmax(1) != labels).sum())
            total += len(labels)
    assert metrics["test/error"] == pytest.approx(100 * wrong / total, abs=1e-4)
    assert metrics["best_epoch"] == checkpoint["epoch"] + 1
    assert checkpoint["hyper_parameters"]["convert"] is True


def test_the_same_seed_gives_the_same_result(run: Run) -> None:
    results = [run("seed=3", "convert=true", folder=name) for name in ("a", "b")]
    other = run("seed=4", "convert=true", folder="c")
    for metrics in [*results, other]:
        del metrics["training_seconds"], metrics["seed"]
    assert results[0] == results[1]
    assert results[0]["test/loss"] != other["test/loss"]


def test_without_validation_split_the_last_weights_are_tested(run: Run, tmp_path: Path) -> None:
    metrics = run("data.validation_fraction=0")
    assert metrics["val/error"] is None
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"last.ckpt", "before_last.ckpt"}


def test_it_runs_without_callbacks_and_loggers(run: Run, tmp_path: Path) -> None:
    run("callbacks=none", "logger=none", "optimizer=adamw", "scheduler=constant")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "overrides.yaml", "environment.json", "metrics.json", "status.json"}


def test_the_example_experiment_runs(run: Run) -> None:
    metrics = run("experiment=example", "trainer.max_epochs=1")
    assert metrics["sampling"] == "lattice"


def test_tensorboard_shows_curves_and_hyperparameters(run: Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    metrics = run("convert=true")
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/error", "val/error", "test/error", "lr", "system/peak_memory_mib", "hp/test_error"} <= set(tags)
    assert events.Scalars("hp/test_error")[0].value == pytest.approx(metrics["test/error"])
    assert "hparams" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name


def test_the_validation_error_is_one_whatever_chooses_the_best_epoch(run: Run, tmp_path: Path) -> None:
    metrics = run("callbacks.best_checkpoint.monitor=val/loss")
    with (tmp_path / "run/metrics.csv").open() as file:
        errors = [float(row["val/error"]) for row in csv.DictReader(file) if row["val/error"]]
    assert metrics["val/error"] == pytest.approx(errors[metrics["best_epoch"] - 1], abs=1e-4)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_run(precision: str, run: Run) -> None:
    assert 0 <= run("convert=true", "trainer.max_epochs=1", f"trainer.precision={precision}")["test/error"] <= 100


@pytest.mark.parametrize("sampling", ["random", "stochastic", "lattice", "complete", "three_quarters", "custom"])
def test_every_sampling_method_trains(sampling: str, run: Run) -> None:
    metrics = run("convert=true", "trainer.max_epochs=1", f"sampling={sampling}")
    assert metrics["sampling"].split()[0] == sampling
    assert metrics["multiply_adds_ratio"] > 1


def test_a_run_never_overwrites_another(run: Run, tmp_path: Path) -> None:
    run()
    before = (tmp_path / "run/metrics.json").read_bytes()
    with pytest.raises(UserError, match="holds a run already"):
        run("seed=1")
    assert (tmp_path / "run/metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=cifar10", "data.root=/nowhere", "data.download=false"], "/nowhere.*data=digits needs no download"),
        (["data.channels=3"], "data.mean"),
        (["trainer=gpu"], "trainer.accelerator: expected a GPU"),
        (["model.dropout=2"], "model: .*2"),
        (["data.batch_size=100000"], "data.batch_size"),
        (["output_dir=/elsewhere"], "output_dir: .*hydra.run.dir"),
        (["optimizer.momentum=-1"], "optimizer.*momentum.*-1"),
        (["optimizer.momentum=0"], "Nesterov momentum requires a momentum"),
        (
            ["callbacks.best_checkpoint.monitor=val/eror"],
            "monitor: there is no 'val/eror'; did you mean 'val/error'",
        ),
        (["data.augmentations.standard.crop_padding=1.5"], r"data.augmentations.*crop_padding.*got 1.5"),
        (["sampling.skip_first=-1"], "sampling.skip_first: expected 0 or more levels, got -1"),
        (
            ["convert=true", "sampling.only=[layer1.*]"],
            r"no strided layer matches the name 'layer1.\*'; there are stages.1.conv3",
        ),
        (
            ["sampling=custom", "sampling.samplers=[[[1,2],[0,1]]]"],
            r"samplers\[0\]\[0\]\[1\]: expected 0 or 1, got 2",
        ),
    ],
)
def test_what_fails_before_training_writes_nothing(
    overrides: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    if overrides == ["trainer=gpu"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=message):
        run(*overrides)
    assert not (tmp_path / "run").exists()


def test_a_network_without_strided_layers_cannot_be_converted(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"convert=true: toy cannot be converted(.|\n)*convert=false"):
        run("convert=true", "model._target_=experiments.flat_network", "~model.dropout", "~model.depth")
    assert not (tmp_path / "run").exists()


def test_the_papers_protocol_splits_nothing_off_and_takes_the_best_test_epoch(run: Run, tmp_path: Path) -> None:
    metrics = run("protocol=paper", "trainer.max_epochs=3")
    with (tmp_path / "run/metrics.csv").open() as file:
        errors = [float(row["val/error"]) for row in csv.DictReader(file) if row["val/error"]]
    assert len(errors) == 3
    assert metrics["test/error"] == pytest.approx(min(errors), abs=1e-4)
    assert metrics["best_epoch"] == 1 + errors.index(min(errors))
    assert metrics["protocol"] == "paper"
    honest = run(folder="honest")
    assert (honest["protocol"], honest["train_images"]) == ("honest", round(0.9 * metrics["train_images"]))


@pytest.mark.parametrize("sampling", ["convert=false", "sampling=random"])
def test_checkpointing_changes_no_result(sampling: str, run: Run, tmp_path: Path) -> None:
    weights = []
    for checkpointing in ("false", "true"):
        folder = f"run_{checkpointing}"
        convert = "convert=false" if "=false" in sampling else "convert=true"
        run(sampling, convert, f"checkpointing={checkpointing}", folder=folder)
        saved = torch.load(tmp_path / folder / "checkpoints/last.ckpt", weights_only=True)
        weights.append(saved["state_dict"])
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_checkpointing_needs_stages(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpointing=true: MobileNetV3 has no stages to checkpoint"):
        run("checkpointing=true", "model=torchvision", "model.name=mobilenet_v3_small")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("convert", ["false", "true"])
def test_channels_last_reaches_the_network(convert: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    forward = Classifier.forward

    def look(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        seen.add(images.is_contiguous(memory_format=torch.channels_last))
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", look)
    run("channels_last=true", f"convert={convert}", "data.batch_size=32")
    assert seen == {True}


@pytest.mark.slow
def test_compiled_networks_train_and_their_checkpoints_fit_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with = torch.nn.Module.compile
    # Inductor takes minutes.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend="aot_eager"))
    run("compile=true", "convert=true", "trainer.max_epochs=2")
    with (tmp_path / "run/metrics.csv").open() as file:
        assert sum(bool(row["system/first_step_seconds"]) for row in csv.DictReader(file)) == 1
    saved = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    run("convert=true", "trainer.max_epochs=1", folder="eager")
    eager = torch.load(tmp_path / "eager/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == eager.keys()
