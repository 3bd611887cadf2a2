"""Wrong command lines, data, checkpoints and disks: one clear message each, nothing written, nothing run.

tests/test_mistakes.py has those that are found by looking at the configuration alone; these need more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments import Run
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ccnn.explain import explain

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")

COMMANDS: dict[str, list[str]] = {
    # contradictions
    "convert=true model._target_=experiments.flat_network ~model.dropout ~model.depth": [
        "convert=true", "nothing"],
    "checkpointing=true model._target_=experiments.flat_network ~model.dropout ~model.depth": [
        "checkpointing=true", "stages"],
    "data.batch_size=1298": ["data.batch_size is 1298", "1167", "at most"],
    "data.batch_size=1000 trainer.devices=2 trainer.strategy=ddp": [
        "data.batch_size is 1000", "584", "processes: 2"],
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
    "model._target_=builtins.print": ["model"],
    "optimizer.momentum=-1": ["optimizer", "momentum", "-1"],
    "optimizer.momentum=0": ["optimizer", "Nesterov momentum requires"],
    "optimizer._target_=torch.optim.Nothing": ["optimizer._target_", "torch.optim.Nothing"],
    "optimizer=adamw +optimizer.betas=[2,3]": ["optimizer", "beta"],
    "scheduler.gamma=x": ["scheduler.gamma: expected", "'x'"],
    "scheduler=cosine +scheduler.speed=3": ["scheduler.speed", "takes no such argument"],
    "trainer=gpu": ["trainer", "gpu"],
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
    "resume=/nowhere": ["resume: /nowhere is no folder of a run"],
    "resume=3": ["resume: expected", "3"],
    "resume=[a]": ["resume: expected"],
    "data.root=3 data=mnist data.download=false": ["data.root: expected a text, got 3"],
    "data=mnist data.download=false data.root=/nowhere": ["/nowhere", "data.download is false", "data.root"],
    "data=cifar10 data.download=false data.root=/nowhere": ["/nowhere/cifar-10-batches-py", "data.root"],
    "data=cifar100 data.download=false data.root=/nowhere": ["/nowhere/cifar-100-python", "data.root"],
    "data=mnist data.download=true data.root=/dev/null": ["/dev/null", "data.root"],
    "data.augmentations.standard.crop_padding=-1": ["crop_padding", "-1"],
    "data.augmentations.standard.rotation=x": ["rotation", "'x'"],
    "+data.augmentations.standard.blur=1": ["data.augmentation", "blur"],
    "compile=perhaps": ["compile: expected true or false"],
    "channels_last=2": ["channels_last: expected true or false"],
    "sweep=3": ["sweep: expected a text", "got 3"],
}  # fmt: skip


@pytest.fixture
def refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs what must fail; returns what a user would read. Nothing may be written."""

    def launch(*_: Any, **__: Any) -> None:
        raise AssertionError("the training began")

    for strategy in (SingleDeviceStrategy, DDPStrategy):
        monkeypatch.setattr(strategy, "setup_environment", launch)
    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", launch)

    def run_and_explain(*overrides: str, folder: str = "run") -> str:
        before = contents(tmp_path)
        with pytest.raises(Exception) as caught:  # noqa: PT011  # of any kind, that can be explained
            run(*overrides, folder=folder)
        message = explain(caught.value)
        assert message, f"a traceback would be shown: {caught.value!r}"
        assert contents(tmp_path) == before
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
