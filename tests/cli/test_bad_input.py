"""Wrong command lines, data, checkpoints and disks: one clear message each, nothing written, nothing run.

test_mistakes.py has those that are found by looking at the configuration alone; these need more.
"""

import gzip
import os
import pickle
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archives import cifar_batches, cifar_pickle, idx_bytes, python3_pickle, tar_gz, write_idx
from experiments import Run, signal_at
from processes import Nursery
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ccnn.cli import attempt
from ccnn.runs.signals import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")

COMMANDS: dict[str, list[str]] = {
    # contradictions
    "convert=true model._target_=experiments.flat_network ~model.dropout ~model.depth": [
        "convert=true", "nothing to convert"],
    "checkpointing=true model._target_=experiments.flat_network ~model.dropout ~model.depth": [
        "checkpointing=true", "stages"],
    "data.batch_size=1298": ["data.batch_size is 1298", "1167", "at most"],
    "data.batch_size=1000 trainer.devices=2 trainer.strategy=ddp": [
        "data.batch_size is 1000", "584", "processes: 2"],
    "data.train_images=0": ["data.train_images is 0", "expected 1 or more", "null"],
    "data.train_images=1168": ["data.train_images is 1168", "1167", "at most"],
    "data.train_images=few": ["data.train_images: expected an integer or null, got 'few'"],
    "data.channels=3": ["data.mean has 1 numbers", "channel", "3"],
    "data.image_size=28": ["16x16", "28"],
    "data.num_classes=7": ["7", "label"],
    "data.validation_fraction=0.0001": ["data.validation_fraction is 0.0001", "expected at least 1"],
    "data.validation_fraction=0.9999": ["data.validation_fraction is 0.9999", "expected at least 1"],
    "data.mean=[0.1,0.2]": ["data.mean has 2 numbers", "expected one per channel"],
    "data.std=[0]": ["data.std", "above 0"],
    "data.name=imagenet": ["data.name is 'imagenet'", "digits"],
    "data.seed=-1": ["data.seed: expected an integer"],
    "protocol=strict": ["protocol", "honest", "strict"],
    "model=vgg11_bn data.image_size=8": ["16x16", "8"],
    "model=torchvision model.name=resnet5": ["resnet5", "did you mean"],
    "model=torchvision model.name=resnet18 model.weights=/nowhere.pt": ["/nowhere.pt"],
    "model=torchvision model.name=resnet18 model.weights=V9": ["V9"],
    "model=timm model.name=resnet5": ["resnet5", "did you mean"],
    "model.dropout=2": ["model", "dropout", "2"],
    "model.in_channels=3": ["model: toy does not run on the images of data=digits", "1×16×16"],
    "model.num_classes=3": ["model: toy yields (3,)", "expected (10,)"],
    "model._target_=torch.nn.Flatten ~model.in_channels ~model.num_classes ~model.dropout ~model.depth": [
        "model: toy yields (256,)", "expected (10,)"],
    "model._target_=os.system": ["model.in_channels: os.system takes no such argument"],
    "model._target_=builtins.print": ["model.in_channels: builtins.print takes no such argument"],
    "optimizer.momentum=-1": ["optimizer", "momentum", "-1"],
    "optimizer.momentum=0": ["optimizer", "Nesterov momentum requires"],
    "optimizer._target_=torch.optim.Nothing": ["optimizer._target_", "torch.optim.Nothing"],
    "optimizer=adamw +optimizer.betas=[2,3]": ["optimizer", "beta"],
    "scheduler.gamma=x": ["scheduler.gamma: expected", "'x'"],
    "scheduler=cosine +scheduler.speed=3": ["scheduler.speed", "takes no such argument"],
    "trainer=gpu": ["trainer.accelerator: expected a GPU, torch finds none here", "trainer=cpu"],
    "trainer.accelerator=quantum": ["trainer", "quantum"],
    "trainer.devices=0": ["trainer.devices: expected a number ≥ 1", "got 0"],
    "trainer.devices=[]": ["trainer.devices: expected", "[]"],
    "trainer.devices=-5": ["trainer.devices: expected a number ≥ 1", "-5"],
    "trainer.devices=999": ["trainer.devices: expected at most", "cores", "999"],
    "trainer.devices=two": ["trainer.devices: expected", "'two'"],
    "trainer.num_nodes=0": ["trainer.num_nodes: expected an integer ≥ 1, got 0"],
    "trainer.strategy=ddq": ["trainer", "ddq"],
    "trainer.devices=2 trainer.strategy=ddp_spawn": ["trainer.strategy: ddp_spawn", "expected ddp"],
    "trainer.devices=2 trainer.strategy=ddp +trainer.sync_batchnorm=true": ["sync_batchnorm", "GPU"],
    "+trainer.gradient_clip_algorithm=steepest": ["trainer", "steepest"],
    "+trainer.val_check_interval=99999": ["val_check_interval", "99999"],
    "+trainer.accumulate_grad_batches=0": ["accumulate_grad_batches", "0"],
    "+trainer.limit_test_batches=-1": ["limit_test_batches", "-1"],
    "trainer.max_epochs=1e3": ["trainer.max_epochs: expected an integer"],
    "callbacks.best_checkpoint.monitor=test/error": ["callbacks.best_checkpoint.monitor", "'val/error'"],
    "callbacks.best_checkpoint.mode=least": ["callbacks.best_checkpoint", "least", "min"],
    "callbacks.best_checkpoint._target_=Nothing": ["callbacks.best_checkpoint._target_", "Nothing"],
    "+callbacks.best_checkpoint.every=1": ["callbacks.best_checkpoint.every", "takes no such argument"],
    "+callbacks.mine._target_=builtins.dict": ["callbacks.mine._target_: expected", "builtins.dict"],
    "logger.csv._target_=builtins.dict": ["logger.csv"],
    "sampling.only=[nothing.*] convert=true": ["no strided layer", "'nothing.*'"],
    "sampling.skip_first=9 convert=true": ["convert=true", "skip_first 9"],
    "sampling.only=[] sampling.skip_first=x": ["sampling.skip_first: expected an integer"],
    "sampling=custom sampling.samplers=[[[1,2],[0,1]]]": ["samplers[0][0][1]", "got 2"],
    "sampling=custom sampling.samplers=3": ["samplers", "3"],
    "sampling=custom sampling.samplers=[]": ["samplers"],
    "exclude=3": ["exclude: expected a list"],
    "exclude=[3]": ["exclude[0]: expected a combination", "3"],
    "exclude=[{modle: toy}]": ["exclude[0].modle: there is no such key", "did you mean 'model'"],
    "exclude=[{data.batch: 3}]": ["exclude[0].data.batch: there is no such key"],
    "output_dir=/elsewhere": ["output_dir", "hydra.run.dir"],
    "resume=/nowhere": ["resume: /nowhere is no folder; expected one such as"],
    "resume=": ["resume: is empty; expected the folder of a run"],
    "resume=3": ["resume: expected", "3"],
    "resume=[a]": ["resume: expected"],
    "data.root=3 data=mnist data.download=false": ["data.root: expected a text, got 3"],
    "data=mnist data.download=false data.root=/nowhere": ["/nowhere", "data.download is false", "data.root"],
    "data=cifar10 data.download=false data.root=/nowhere": ["/nowhere/cifar-10-batches-py", "data.root"],
    "data=cifar100 data.download=false data.root=/nowhere": ["/nowhere/cifar-100-python", "data.root"],
    "data=mnist data.download=true data.root=/dev/null": ["data.root: /dev/null is a file, expected a folder"],
    "trainer.foo=1": ["trainer.foo: there is no such key; choices: accelerator, ", "+trainer.foo=…"],
    "optimizer.learning_rate=0.1": ["optimizer.learning_rate: there is no such key; choices: lr, momentum"],
    "data.augmentations.standard.crop_padding=-1": ["crop_padding", "-1"],
    "data.augmentations.standard.rotation=x": ["rotation", "'x'"],
    "+data.augmentations.standard.blur=1": ["data.augmentation", "blur"],
    "compile=perhaps": ["compile: expected true or false"],
    "channels_last=2": ["channels_last: expected true or false"],
    "sweep=3": ["sweep: expected a text", "got 3"],
}  # fmt: skip


@pytest.fixture
def refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs what must fail, as train.py does; returns what a user would read. Nothing may be written."""

    def launch(*_: Any, **__: Any) -> None:
        raise AssertionError("the training began")

    for strategy in (SingleDeviceStrategy, DDPStrategy):
        monkeypatch.setattr(strategy, "setup_environment", launch)
    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", launch)

    def run_and_explain(*overrides: str, folder: str = "run") -> str:
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as caught:
            attempt(lambda: run(*overrides, folder=folder), debug=False)
        message = capsys.readouterr().err
        assert caught.value.code == 1
        assert contents(tmp_path) == before
        assert message.startswith("\nError: ")
        assert message.count("\nError: ") == 1
        assert "Traceback" not in message
        assert "\n  File " not in message
        return message

    return run_and_explain


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_command(command: str, refused: Callable[..., str]) -> None:
    if "gpu" in command and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    message = refused(*command.split(" ") if "exclude" not in command else [command])
    for part in COMMANDS[command]:
        assert part in message, message


def test_more_devices_than_there_are(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = refused("trainer=gpu", "trainer.devices=2", "trainer.strategy=ddp")
    assert "Error: trainer: You requested gpu: [0, 1]" in message
    assert "your machine only has: [0]" in message


def mnist(change: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    def prepare(root: Path) -> list[str]:
        write_idx(root)
        change(root)
        return ["data=mnist", "data.batch_size=4"]

    return prepare


def cifar(classes: int, change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], list[str]]:
    def prepare(root: Path) -> list[str]:
        files = {name: cifar_pickle(*batch) for name, batch in cifar_batches(classes).items()}
        change(files)
        folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
        root.mkdir(exist_ok=True)
        tar_gz(root / f"cifar-{classes}-python.tar.gz", {f"{folder}/{k}": v for k, v in files.items()})
        return [f"data=cifar{classes}", "data.batch_size=4"]

    return prepare


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def replaced(name: str, content: bytes | None, by: str = "") -> Callable[[Path], object]:
    """Removes a file; puts another one beside it, or a folder in its place."""

    def change(root: Path) -> None:
        (root / name).unlink()
        if content is None:
            (root / name).mkdir()
        else:
            (root / by).write_bytes(content)

    return change


def batch(labels: dict[bytes, list[int]], pixels: int = 3072) -> bytes:
    return python3_pickle(np.zeros((6, pixels), np.uint8), labels)


def no_archive(root: Path) -> list[str]:
    root.mkdir()
    (root / "cifar-10-python.tar.gz").write_text("<html>")
    return ["data=cifar10"]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def cifar_cut(root: Path) -> list[str]:
    overrides = cifar(10, lambda files: None)(root)
    cut("cifar-10-python.tar.gz", 3000)(root)
    return overrides


def cifar_bomb(root: Path) -> list[str]:
    return cifar(100, lambda files: files.update(train=pickle.dumps(Bomb(root / "exploded"))))(root)


TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
DATA: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "cut off": (mnist(cut(TRAIN, 500)), [TRAIN, "is cut off", "500 bytes", "expected"]),
    "header cut off": (mnist(cut(TRAIN, 7)), [TRAIN, "is cut off", "7 bytes"]),
    "empty": (mnist(cut(LABELS, 0)), [LABELS, "is cut off", "0 bytes"]),
    "too long": (
        mnist(lambda root: put(LABELS, (root / LABELS).read_bytes() + b"x")(root)), [LABELS, "is too long"]),
    "wrong magic": (mnist(put(TRAIN, struct.pack(">4I", 7, 1, 1, 1) + b"x")), [TRAIN, "magic number 7", "2051"]),
    "labels for images": (mnist(lambda root: shutil.copy(root / LABELS, root / TRAIN)), [TRAIN, "magic number"]),
    "too few labels": (mnist(put(LABELS, idx_bytes(np.zeros(3, np.uint8)))), ["12 images", "3 labels"]),
    "labels too large": (mnist(put(LABELS, idx_bytes(np.full(12, 77, np.uint8)))), ["77", "10"]),
    "no images": (mnist(put(TRAIN, idx_bytes(np.zeros((0, 28, 28), np.uint8)))), ["0 images", "12 labels"]),
    "wrong size": (mnist(lambda root: write_idx(root, size=20)), ["20", "28"]),
    "gzip cut off": (
        mnist(replaced(TRAIN, gzip.compress(bytes(9000))[:20], f"{TRAIN}.gz")),
        [f"{TRAIN}.gz", "cut off or damaged"]),
    "gzip of nonsense": (
        mnist(replaced(TRAIN, b"nonsense", f"{TRAIN}.gz")), [f"{TRAIN}.gz", "cut off or damaged"]),
    "one file missing": (mnist(lambda root: (root / LABELS).unlink()), ["mnist was not found", "data.root"]),
    "a folder for a file": (mnist(replaced(LABELS, None)), ["mnist was not found"]),
    "fewer images than a batch": (
        lambda root: [*mnist(lambda _: None)(root), "data.batch_size=64"],
        ["data.batch_size is 64", "11 training images"]),
    "archive cut off": (cifar_cut, ["cifar-10-python.tar.gz", "cut off or damaged"]),
    "member missing": (cifar(10, lambda files: files.pop("data_batch_3")), ["lacks", "data_batch_3"]),
    "no pickle": (cifar(10, lambda files: files.update(test_batch=b"nonsense")), ["test_batch"]),
    "pickle bomb": (cifar_bomb, ["train", "was not run"]),
    "another shape": (
        cifar(10, lambda files: files.update(test_batch=batch({b"labels": [0] * 6}, pixels=10))),
        ["test_batch", "(6, 10)", "(N, 3072)"]),
    "fewer labels": (
        cifar(10, lambda files: files.update(test_batch=batch({b"labels": [0]}))),
        ["test_batch", "6 images and 1 labels"]),
    "coarse labels only": (
        cifar(100, lambda files: files.update(test=batch({b"coarse_labels": [0] * 6}))), ["test", "fine_labels"]),
    "no archive": (no_archive, ["cifar-10-python.tar.gz", "cut off or damaged"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_wrong_data(case: str, refused: Callable[..., str], tmp_path: Path) -> None:
    prepare, parts = DATA[case]
    overrides = prepare(tmp_path / "root")
    message = refused(
        *overrides[:1], *(x for x in overrides[1:]), f"data.root={tmp_path}/root", "data.download=false"
    )
    for part in parts:
        assert part in message, message


@pytest.fixture
def stopped(run: Run, tmp_path: Path) -> Path:
    """A run that was interrupted in its second epoch."""
    with pytest.raises(Interrupted):
        run(*signal_at(5, 2), "callbacks.pictures=null", folder="stopped")
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace("number: 2", "number: 0"))
    return tmp_path / "stopped"


FOREIGN: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "truncated": (lambda path, _: path.write_bytes(path.read_bytes()[:5000]), "is cut off, damaged"),
    "empty": (lambda path, _: path.write_bytes(b""), "is cut off, damaged"),
    "text": (lambda path, _: path.write_text("nothing"), "was refused"),
    "one byte wrong": (lambda path, _: flip(path), "the checksum of"),
    "bomb": (lambda path, flag: torch.save({"state_dict": Bomb(flag)}, path), "was refused"),
    "plain bomb": (lambda path, flag: path.write_bytes(pickle.dumps(Bomb(flag), 2)), "was refused"),
    "whole module": (lambda path, _: torch.save(torch.nn.Linear(2, 2), path), "was refused"),
    "weights alone": (lambda path, _: torch.save({"weight": torch.zeros(2)}, path), "no checkpoint of a run"),
    "a number": (lambda path, _: torch.save(3, path), "no checkpoint of a run"),
    "a folder": (lambda path, _: replaced(path.name, None)(path.parent), "is cut off, damaged"),
}  # fmt: skip


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("case", FOREIGN)
def test_a_wrong_checkpoint_is_said_and_never_run(
    case: str, stopped: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = FOREIGN[case]
    flag = tmp_path / "exploded"
    change(stopped / "checkpoints/last.ckpt", flag)
    run(f"resume={stopped}", folder="elsewhere")
    out = capsys.readouterr().out
    assert f"{stopped}/checkpoints/last.ckpt" in out
    assert said in out
    assert "Going on from before_last.ckpt" in out
    assert not flag.exists()


def test_a_checkpoint_of_another_architecture(stopped: Path, refused: Callable[..., str]) -> None:
    path = stopped / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["model.more"] = torch.zeros(3)
    torch.save(checkpoint, path)
    assert "is of another network: model.more has the shape (3,) there" in refused(f"resume={stopped}")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_downloaded_weights_are_never_run(
    library: str, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm_hub = pytest.importorskip("timm.models._builder") if library == "timm" else None
    cache, flag = tmp_path / "hub/checkpoints", tmp_path / "exploded"
    cache.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (cache / "resnet18-f37072fd.pth").write_bytes(pickle.dumps(Bomb(flag), 2))
    if timm_hub:  # as it does for weights that are not on the Hugging Face hub
        url = "https://example.invalid/resnet18-f37072fd.pth"
        monkeypatch.setattr(timm_hub, "_resolve_pretrained_source", lambda _: ("url", url))
    message = refused(f"model={library}", "model.name=resnet18", "model.weights=DEFAULT")
    assert not flag.exists()
    assert "model.weights: the file of 'DEFAULT' was refused" in message
    assert str(tmp_path / "hub") in message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a disk of as many KB."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(path)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a disk")
        return path

    yield mount
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["csv", "tensorboard", "none"])
@pytest.mark.parametrize("size", [12, 30, 40, 60, 300])
def test_a_full_disk(
    size: int, logger: str, small_disk: Callable[[int], Path], nursery: Nursery, tmp_path: Path
) -> None:
    disk = small_disk(size)
    often = ("trainer.log_every_n_steps=1", "callbacks=none") if size < 300 else ()
    command = nursery.train(
        tmp_path, "trainer=cpu", "trainer.max_epochs=40", "+trainer.limit_train_batches=9",
        "+trainer.limit_val_batches=1", f"logger={logger}", *often, f"hydra.run.dir={disk}/run",
    )  # fmt: skip
    assert "Traceback" not in command.out + command.err
    if command.code == 0:  # without checkpoints there may be room enough
        assert size >= {"none": 30, "csv": 60}[logger]
        assert (disk / "run/metrics.json").exists()
        if logger == "csv":  # and every step is there
            lines = (disk / "run/metrics.csv").read_text().splitlines()
            steps = {line.split(",")[lines[0].split(",").index("step")] for line in lines[1:]}
            assert {str(step) for step in range(40 * 9)} <= steps
        return
    assert command.code == 1
    assert command.err.count("Error: ") == 1
    assert "No space left on device" in command.err or "cannot be written" in command.err
    assert f"{disk}/run" in command.err
    assert not list(disk.rglob("*.tmp"))
    assert not (disk / "run/metrics.json").exists()
    for path in disk.rglob("*.ckpt"):
        torch.load(path, weights_only=True)


@pytest.mark.slow
def test_a_disk_that_cannot_be_written(
    small_disk: Callable[[int], Path], nursery: Nursery, tmp_path: Path
) -> None:
    disk = small_disk(300)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    command = nursery.train(tmp_path, "trainer=cpu", f"hydra.run.dir={disk}/run")
    assert command.code == 1
    assert "Traceback" not in command.err
    assert f"{disk}/run: cannot be used: Read-only file system" in command.err


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


TYPED: dict[str, str] = {
    "model=resnet5": "model: there is no choice 'resnet5'",
    "modle=toy": "modle: there is no such key; did you mean model",
    "data.batch_size=x": "data.batch_size: expected an integer",
    "trainer.devices=0": "trainer.devices: expected a number",
    "seed=0,1": "add -m",
    "data.batch_size=5000": "data.batch_size is 5000",
    "data=mnist data.root=/nowhere data.download=false": "/nowhere",
    "resume=/nowhere": "resume: /nowhere is no folder; expected one such as",
    "hydra.run.dir=out.txt/run": "out.txt/run: cannot be used: Not a directory",
    "checkpointing=true model._target_=torch.nn.Flatten": "takes no such argument",
    "--config-name=nothing": "--config-name: there is no file nothing.yaml",
    "--epochs 3": "--epochs: there is no such flag; settings are written key=value",
    "--convert": "--convert: there is no such flag; settings are written key=value, as in trainer.max_epochs=10; "
    "did you mean convert=…?",
    "optimizer.lr = 0.1": "optimizer.lr: expected key=value, without spaces around the =",
    "model=torchvision": "model.name: needs a value; add model.name=…",
    "seed=0 -m optimizer.lr=-1": "optimizer.lr: expected a number > 0, got -1",
    "-m seed=-1": "seed: expected an integer from 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", TYPED)
def test_a_wrong_command_as_typed(command: str, nursery: Nursery, tmp_path: Path) -> None:
    result = nursery.train(tmp_path, *command.split(" "))
    assert result.code == 1
    assert TYPED[command] in result.err
    assert result.err.count("Error: ") == 1
    assert "Traceback" not in result.out + result.err
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"out.txt", "err.txt"}


@pytest.mark.slow
def test_a_mistake_leaves_earlier_results_as_they_were(nursery: Nursery, tmp_path: Path) -> None:
    small = ("trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=2", "hydra.run.dir=run")
    assert nursery.train(tmp_path, *small, "callbacks.pictures=null").code == 0
    before = contents(tmp_path / "run")
    again = nursery.train(tmp_path, *small, "seed=1")
    assert again.code == 1
    assert "run: holds a run already, which is left as it is" in again.err
    assert contents(tmp_path / "run") == before
