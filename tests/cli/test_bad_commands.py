"""Wrong commands end in one clear message, with nothing written and nothing run.

test_mistakes.py has those that the configuration alone shows; these need data, network or trainer.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_lines import Type, contents
from experiments import SMALL

from ccnn.cli import train
from ccnn.errors import UserError

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
    "trainer.foo=1": ["trainer.foo: there is no such key; --cfg job --package trainer shows", "+trainer.foo=…"],
    "optimizer.learning_rate=0.1": ["optimizer.learning_rate: there is no such key; --cfg job --package optim"],
    "data.augmentations.standard.crop_padding=-1": ["crop_padding", "-1"],
    "data.augmentations.standard.rotation=x": ["rotation", "'x'"],
    "+data.augmentations.standard.blur=1": ["data.augmentation", "blur"],
    "compile=perhaps": ["compile: expected true or false"],
    "channels_last=2": ["channels_last: expected true or false"],
    "sweep=3": ["sweep: expected a text", "got 3"],
}  # fmt: skip


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


TYPED: dict[str, str] = {
    "model=resnet5": "model: there is no choice 'resnet5'",
    "modle=toy": "modle: there is no such key; did you mean model",
    "data.batch_size=-1 seed=x": "seed: expected an integer from 0 to 4294967295, got 'x'.\ndata.batch_size: ",
    "seed=0,1": "add --multirun",
    "hydra.run.dir=/dev/null/run": "/dev/null/run: cannot be used: Not a directory",
    "--config-name=nothing": "Cannot find primary config 'nothing'",
    "--config-dir=nowhere": "nowhere' not found",
    "--cfg=job -m seed=0,1": "--cfg shows the configuration of a single run",
    "optimizer.lr = 0.1": "optimizer.lr: cannot be read as key=value",
    "model=torchvision": "model.name: needs a value; add model.name=…",
    "hydra/launcher=job": "there is no choice 'job'; did you mean 'joblib'? Choices: basic",
    "-m seed=0,1 modle=toy": "modle: there is no such key",
    "-m modle=toy,resnet18": "modle: there is no such key",
    "-m experiment=table1,table8": "experiment: only one per sweep",
}


@pytest.mark.parametrize("command", TYPED)
def test_a_wrong_command_as_typed(command: str, type_in: Type, tmp_path: Path) -> None:
    outcome = type_in(train.main, *command.split(" "))
    assert outcome.code == 1
    assert TYPED[command] in outcome.err
    assert outcome.err.count("Error: ") == 1
    assert "Traceback" not in outcome.out + outcome.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_flag_that_hydra_does_not_know_is_named(type_in: Type) -> None:
    outcome = type_in(train.main, "--epochs", "3")
    assert outcome.code == 2
    assert "unrecognized arguments: --epochs" in outcome.err


def test_each_job_of_a_sweep_shows_its_own_mistake(type_in: Type, tmp_path: Path) -> None:
    outcome = type_in(train.main, "-m", "seed=-1,-2")
    assert outcome.code == 1
    assert outcome.err.count("Error: seed: expected an integer from 0 to 4294967295, got -1.") == 1
    assert outcome.err.count("Error: seed: expected an integer from 0 to 4294967295, got -2.") == 1
    assert "Not finished, 2 of 2 jobs that began:\n  digits_toy_cnn_seed-1: seed: expected" in outcome.err
    assert not list((tmp_path / "outputs/sweeps").iterdir())


def test_debug_shows_the_traceback(type_in: Type) -> None:
    with pytest.raises(UserError, match="seed: expected"):
        type_in(train.main, "seed=-1", "debug=true")


def test_a_mistake_leaves_earlier_results_as_they_were(type_in: Type, tmp_path: Path) -> None:
    small = (*SMALL, "trainer.max_epochs=1", "callbacks.pictures=null", "hydra.run.dir=run")
    assert type_in(train.main, *small).code == 0
    before = contents(tmp_path / "run")
    again = type_in(train.main, *small, "seed=1")
    assert again.code == 1
    assert "run: holds a run already, which is left as it is" in again.err
    assert contents(tmp_path / "run") == before
