"""Every choice of every group of conf/ is valid and can be built."""

from pathlib import Path

import pytest
from experiments import Compose
from small_networks import NAMED

from ccnn.config import CONF, validate
from ccnn.config.targets import validate_targets
from ccnn.training.build import build

GROUPS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ("hydra", "experiment") and not path.stem.startswith("_")
)


@pytest.mark.parametrize("choice", GROUPS)
def test_every_choice_of_every_group_is_valid_and_instantiates(
    choice: str, compose: Compose, tmp_path: Path
) -> None:
    config = compose(choice, f"output_dir={tmp_path}", *NAMED.get(choice.removeprefix("model="), ()))
    validate(config)
    validate_targets(config)
    group = choice.split("=")[0]
    if choice in ("logger=wandb", "logger=mlflow"):
        pytest.importorskip(choice.removeprefix("logger="))
    if group in ("callbacks", "logger"):
        assert all(build(config[group], name) for name in config[group])
    elif group in ("model", "optimizer", "scheduler"):
        assert build(config, group)
    elif group == "trainer" and choice != "trainer=gpu":
        assert build(config, "trainer", logger=False).max_epochs == config.data.recipe.max_epochs
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_valid(path: Path, compose: Compose) -> None:
    if path.stem == "search":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    config = compose(f"experiment={path.stem}", *NAMED.get(path.stem, ()))
    validate(config)
    validate_targets(config)
