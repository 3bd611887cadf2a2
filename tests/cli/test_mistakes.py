"""A wrong configuration gives one clear message."""

from collections.abc import Callable

import pytest
from experiments import Compose
from omegaconf import DictConfig, OmegaConf

from ccnn.cli.errors import run_command
from ccnn.cli.messages import explain
from ccnn.config import validate
from ccnn.config.targets import validate_targets
from ccnn.errors import UserError

MISTAKES = {
    # groups
    "model=resnet5": ["model: there is no choice 'resnet5'", "did you mean 'resnet50'", "toy_2x3x3"],
    "data=cifar": ["data: there is no choice 'cifar'", "did you mean 'cifar10'"],
    "optimizer=adam": ["optimizer: there is no choice 'adam'", "adamw"],
    "experiment=exmaple": ["experiment: there is no choice", "'example'"],
    "modle=toy": ["modle: there is no such key", "did you mean model"],
    "experimnt=example": ["experimnt: there is no such key", "did you mean experiment"],
    "trainer=null": ["needs the name of a choice", "~group"],
    "+data=mnist": ["Multiple values for data."],
    "~model": ["model: is missing"],
    # keys
    "data.batch_sze=3": ["data.batch_sze: there is no such key", "did you mean data.batch_size"],
    "max_epochs=3": ["max_epochs: there is no such key", "trainer.max_epochs"],
    "lr=0.1": ["lr: there is no such key", "optimizer.lr"],
    "seed.x=3": ["seed.x: there is no such key"],
    "xyzzy=1": ["xyzzy: there is no such key; --cfg job shows all"],
    "+seed=1": ["An item is already at 'seed'", "remove + prefix"],
    "~sed": ["Could not delete from config. 'sed' does not exist"],
    "~data.channels": ["data.channels"],
    "+model.widht=3": ["model.widht: ccnn.models.Toy takes no such argument", "dropout"],
    "+model.dropuot=0.5": ["model.dropuot", "did you mean 'dropout'"],
    "+trainer.max_epoch=3": ["trainer.max_epoch:", "did you mean 'max_epochs'"],
    "+trainer.callbacks=[]": ["trainer.callbacks: cannot be set here", "conf/callbacks"],
    "+optimizer.momentun=0.5": ["optimizer.momentun", "did you mean 'momentum'"],
    "hydra.run.dri=x": ["hydra.run.dri: there is no such key"],
    # syntax
    "seed": ["seed: cannot be read as key=value"],
    "seed==3": ["seed==3: cannot be read as key=value"],
    "data.mean=[1,2": ["data.mean=[1,2: cannot be read"],
    "seed=1,2": ["Ambiguous value for argument 'seed=1,2'", "add --multirun"],
    "seed=range(1,3)": ["Sweep parameters 'seed=range(1,3)' requires --multirun"],
    # values
    "seed=-1": ["seed: expected an integer from 0 to 4294967295, got -1"],
    "seed=1.5": ["seed: expected an integer", "1.5"],
    "seed=null": ["seed: expected an integer", "None"],
    "convert=maybe": ["convert: expected true or false, got 'maybe'"],
    "convert=1": ["convert: expected true or false, got 1"],
    "debug=x": ["debug: expected true or false"],
    "data.batch_size=abc": ["data.batch_size: expected an integer ≥ 1, got 'abc'"],
    "data.batch_size=0": ["data.batch_size: expected an integer ≥ 1, got 0"],
    "data.batch_size=true": ["data.batch_size: expected an integer"],
    "data.validation_fraction=1": ["data.validation_fraction: expected a number in [0, 1), got 1"],
    "data.augment=standrad": ["data.augment: there is no choice 'standrad'", "did you mean 'standard'"],
    "data.num_classes=1": ["data.num_classes: expected an integer ≥ 2"],
    "data.num_workers=-2": ["data.num_workers"],
    "data.download=7": ["data.download: expected true or false"],
    "data.mean=0.5": ["data.mean: expected a list of numbers, got 0.5"],
    "data.recipe.lr=0": ["data.recipe.lr: expected a number > 0, got 0"],
    "optimizer.lr=-0.1": ["optimizer.lr: expected a number > 0"],
    "optimizer.lr=nan": ["optimizer.lr: expected a number > 0, got nan"],
    "optimizer.weight_decay=-1": ["optimizer.weight_decay: expected a number ≥ 0"],
    "optimizer.weight_decay=${nothing}": ["optimizer.weight_decay: cannot be resolved", "nothing"],
    "trainer.max_epochs=0": ["trainer.max_epochs: expected an integer ≥ 1, got 0"],
    "trainer.max_epochs=???": ["trainer.max_epochs: needs a value"],
    "trainer.precision=bf16-mixd": ["trainer.precision: there is no choice", "did you mean 'bf16-mixed'"],
    "trainer.deterministic=5": ["trainer.deterministic: expected"],
    "model._target_=ccnn.models.nothing": ["model._target_: expected the dotted name", "ccnn.models.nothing"],
    "optimizer=7": ["needs the name of a choice"],
    "sampling.name=3": ["sampling.name: expected a text, got 3"],
    "+callbacks.x=3": ["callbacks.x: expected a mapping with a _target_", "got 3"],
    "logger.csv=7": ["logger.csv: expected a mapping"],
    "+trainer.fast_dev_run=true": ["trainer.fast_dev_run: expected false: it gives no result"],
    "+trainer.overfit_batches=2": ["trainer.overfit_batches: expected false: it gives no result"],
    "+trainer.limit_train_batches=0": ["trainer.limit_train_batches: expected a number > 0"],
    "sampling=latice": ["sampling: there is no choice 'latice'", "did you mean 'lattice'"],
    "sampling.border=none": ["sampling.border: there is no choice 'none'"],
    "sampling.skip_first=x": ["sampling.skip_first: expected an integer, got 'x'"],
    "scheduler.fractions=[a]": ["scheduler.fractions: expected a list of numbers"],
}  # fmt: skip


@pytest.fixture
def problem(
    compose: Compose, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What a user would read for these overrides after `Error: `; nothing if there is nothing wrong."""

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which run_command sets

    def look(*overrides: str) -> str:
        def check() -> None:
            config = compose(*overrides)
            validate(config)
            validate_targets(config)

        code = 0
        try:
            run_command(check)
        except SystemExit as end:
            code = int(str(end.code))
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert code == bool(err)
        return err.strip().removeprefix("Error: ")

    return look


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(mistake: str, problem: Callable[..., str]) -> None:
    message = problem(mistake)
    assert message, "the mistake was not found"
    for part in MISTAKES[mistake]:
        assert part in message
    assert message.count("\n") == 0


def test_all_mistakes_of_a_config_are_reported_together(problem: Callable[..., str]) -> None:
    message = problem("data.batch_size=0", "convert=7", "trainer.max_epochs=x")
    assert message.count("\n") == 2


def test_seed_zero_is_a_seed(problem: Callable[..., str]) -> None:
    assert problem("seed=0") == ""


def test_an_experiment_can_misspell_a_key_too(compose: Compose) -> None:
    config = OmegaConf.merge(OmegaConf.to_container(compose()), {"trainer": {"max_epoch": 3}})
    with pytest.raises(UserError, match="did you mean 'max_epochs'"):
        validate_targets(DictConfig(config))


def test_what_is_no_mistake_of_the_user_is_not_explained() -> None:
    assert explain(RuntimeError("a bug")) is None
    assert explain(ValueError("a bug")) is None
