"""One training in two processes (gloo, on the CPU)."""

import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import pytest
import torch
from experiments import Compose, Run
from processes import Nursery
from run_results import assert_same_run, metrics, rows, status

import ccnn
from ccnn.data.loaders import TrainingBatch
from ccnn.errors import UserError
from ccnn.runs.checkpoints import read_checkpoint
from ccnn.training.build import build, build_data

pytestmark = pytest.mark.slow

PAIR = ("trainer=cpu", "trainer.precision=32-true", "trainer.devices=2", "trainer.strategy=ddp",
        "data.batch_size=32", "convert=true",
        "sampling=random", "trainer.max_epochs=3", "+trainer.limit_train_batches=6", "trainer.log_every_n_steps=2",
        "callbacks.pictures=null")  # fmt: skip


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def pair(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A finished run, and what its two processes have seen."""
    folder = tmp_path_factory.mktemp("pair")
    witness = ("+callbacks.witness._target_=experiments.Witness", f"+callbacks.witness.folder={folder}")
    command = nursery.train(folder, *PAIR, *witness)
    assert command.code == 0, command.err
    assert "Warning" not in command.err
    assert "recommended" not in command.err
    (run,) = folder.glob("outputs/runs/*")
    return run, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_it_leaves_one_folder_that_says_so(pair: tuple[Path, list[Any]]) -> None:
    run, _ = pair
    assert status(run)["state"] == "finished"
    assert "2 processes of 32 images a step each" in (run.parents[2] / "out.txt").read_text()
    assert len([row for row in rows(run) if row["train/error"]]) == 3


def test_its_errors_are_those_of_one_process_with_the_saved_weights(
    pair: tuple[Path, list[Any]], compose: Compose
) -> None:
    run, _ = pair
    config = compose(*PAIR)
    model = ccnn.convert(build(config, "model"), (1, 16, 16), sampling=build(config, "sampling")).eval()
    weights = read_checkpoint(run / "checkpoints/best.ckpt")["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")})
    data = build_data(config)

    def score(loader: Any) -> tuple[float, float]:
        wrong, loss, count = 0, 0.0, 0
        with torch.no_grad():
            for batch in loader:
                images, labels = data.on_after_batch_transfer(batch, 0)
                scores = model(images)
                wrong += int((scores.argmax(1) != labels).sum())
                loss += float(torch.nn.functional.cross_entropy(scores, labels, reduction="sum"))
                count += len(labels)
        return 100 * wrong / count, loss / count

    error, loss = score(data.test_dataloader())
    assert metrics(run)["test/error"] == pytest.approx(error, abs=1e-4)
    assert metrics(run)["test/loss"] == pytest.approx(loss, rel=1e-5)
    error, loss = score(data.val_dataloader())
    logged = [row for row in rows(run) if row["val/loss"]][metrics(run)["best_epoch"] - 1]
    assert float(logged["val/error"]) == pytest.approx(error, abs=1e-4)
    # The batch statistics of the second process are others: without sharing them this fails in the third digit.
    assert float(logged["val/loss"]) == pytest.approx(loss, rel=1e-5)


def test_a_plain_data_module_is_shared_out(nursery: Nursery, tmp_path: Path) -> None:
    """96 images in batches of 16: six steps an epoch for one process, three for two."""
    (tmp_path / "own/data").mkdir(parents=True)
    (tmp_path / "own/data/plain.yaml").write_text(
        "_target_: seams.PlainData\nrecipe: {max_epochs: 1, lr: 0.01, weight_decay: 0.0}\n"
    )
    network = ("model._target_=experiments.flat_network", "~model.dropout", "~model.depth")
    shape = ("model.in_channels=1", "model.num_classes=4", "trainer.devices=2", "trainer.strategy=ddp")
    command = nursery.train(tmp_path, "--config-dir", "own", "data=plain", "trainer=cpu", "hydra.run.dir=run",
                            "trainer.precision=32-true", "callbacks.pictures=null", *network, *shape)  # fmt: skip
    assert command.code == 0, command.err
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 3
    assert metrics(tmp_path / "run")["images_seen"] == 96


def test_processes_see_and_draw_different_things_and_keep_the_same_weights(pair: tuple[Path, list[Any]]) -> None:
    _, (one, other) = pair
    assert one["trained"].keys() == other["trained"].keys()
    assert all(torch.equal(value, other["trained"][name]) for name, value in one["trained"].items())
    assert len(one["steps"]) == len(other["steps"]) == 18
    drawn = [(one["steps"][step]["drawn"], other["steps"][step]["drawn"]) for step in one["steps"]]
    assert all(left != "[]" for left, _ in drawn)
    assert sum(left != right for left, right in drawn) > 4, "of two ways to draw, about half differ"
    for step in one["steps"]:
        assert not torch.equal(one["steps"][step]["images"], other["steps"][step]["images"])


def test_processes_augment_the_same_image_differently(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    data: Any = build_data(compose(*PAIR))
    images, labels = data.train_set.select(torch.arange(8))
    seen = []
    for rank in (0, 1):
        monkeypatch.setattr(type(data), "_rank", rank)
        seen.append(data.on_after_batch_transfer(TrainingBatch(images, labels, 0, 0), 0)[0])
    assert not torch.equal(*seen)


def test_training_metrics_are_those_of_all_images(pair: tuple[Path, list[Any]]) -> None:
    """6 batches of 32 images in each of two processes."""
    run, _ = pair
    errors = [float(row["train/error"]) * 384 / 100 for row in rows(run) if row["train/error"]]
    assert errors == pytest.approx([round(error) for error in errors], abs=1e-3)


@pytest.mark.parametrize("number", [SIGKILL, SIGTERM])
def test_it_goes_on_after_an_interruption(
    number: Signals, nursery: Nursery, pair: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    command = nursery.start(tmp_path, *PAIR, "hydra.run.dir=run")
    end = time.monotonic() + 60
    while time.monotonic() < end and not (tmp_path / "run/checkpoints/last.ckpt").exists():
        time.sleep(0.01)
    command.signal(number)
    assert command.wait().code in (-number, 128 + number), command.err
    end = time.monotonic() + 30
    while time.monotonic() < end and status(tmp_path / "run")["state"] == "running" and number == SIGTERM:
        time.sleep(0.1)
    if number == SIGTERM:
        assert command.err.count("Interrupted in epoch") == 1
    else:
        alone = nursery.train(tmp_path, "resume=run", "trainer.devices=1", "trainer.strategy=auto")
        assert alone.code == 1
        assert "was trained by 2 processes, now 1; resume with trainer.devices=2" in alone.err
    resumed = nursery.train(tmp_path, "resume=run")
    assert resumed.code == 0, resumed.err
    assert_same_run(pair[0], tmp_path / "run")
    assert not list(tmp_path.glob("outputs/runs/*"))


def test_all_processes_stop_where_one_diverges(nursery: Nursery, tmp_path: Path) -> None:
    command = nursery.train(
        tmp_path, *PAIR, "hydra.run.dir=run", "optimizer.lr=1e30", "convert=false", "sampling=naive"
    )
    assert command.code == 1
    assert "Training diverged" in command.err
    assert "Traceback" not in command.err
    assert status(tmp_path / "run")["state"] == "failed"
    assert not (tmp_path / "run/metrics.json").exists()


def test_synchronised_batch_norm_keeps_a_converted_network(compose: Compose) -> None:
    config = compose(*PAIR, "model=resnet18")
    model = ccnn.convert(build(config, "model"), (1, 16, 16), sampling="lattice").eval()
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    before, names = model(images), list(model.state_dict())
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules())
    assert torch.equal(model(images), before)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.strategy=ddp_spawn"], "trainer.strategy: ddp_spawn .*expected ddp"),
        (["trainer.strategy=ddp_fork"], "trainer.strategy: ddp_fork .*expected ddp"),
        (["trainer.strategy=ddp", "+trainer.sync_batchnorm=true"], "trainer.sync_batchnorm: .*needs GPUs"),
        (["trainer.devices=999"], "trainer.devices: expected at most .*this machine's cores, got 999"),
    ],
)
def test_what_does_not_work_is_an_error(overrides: list[str], message: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run("trainer.devices=2", *overrides)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_the_error_of_one_process_is_that_of_the_run(rank: int, nursery: Nursery, tmp_path: Path) -> None:
    wrong = (f"+callbacks.stop.{key}" for key in ("_target_=experiments.RaiseAt", "step=2", "error=UserError"))
    command = nursery.train(tmp_path, *PAIR, *wrong, f"+callbacks.stop.rank={rank}")
    assert command.code in (1, -SIGKILL)  # by Lightning, if the first process is too slow to end by itself
    assert "Traceback" not in command.out + command.err
    assert command.err.count("Error: ") == 1
    assert f"Error: what process {rank} says" in command.err
    (run,) = tmp_path.glob("outputs/runs/*")
    assert status(run)["state"] == "failed"
    assert f"what process {rank} says" in status(run)["error"]
