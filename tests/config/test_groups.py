"""Every choice of every group of conf/ is valid and can be built."""

import re
from pathlib import Path

import pytest
from experiments import Compose
from hydra.utils import instantiate
from omegaconf import OmegaConf
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
    if group in ("callbacks", "logger"):
        assert all(build(config[group], name) for name in config[group])
    elif group in ("model", "optimizer", "scheduler"):
        assert build(config, group)
    elif group == "trainer" and choice != "trainer=gpu":
        assert instantiate(config.trainer, logger=False).max_epochs == config.data.recipe.max_epochs
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_valid(path: Path, compose: Compose) -> None:
    if path.stem == "search":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    config = compose(f"experiment={path.stem}", *NAMED.get(path.stem, ()))
    validate(config)
    validate_targets(config)


def test_help_names_every_choice() -> None:
    """Written by hand, because Hydra's own list shows files that are no choices and says nothing about them."""
    help_page = OmegaConf.to_container(OmegaConf.load(CONF / "hydra/help/ccnn.yaml"))
    assert isinstance(help_page, dict)
    template = help_page["template"]
    section = template[template.index("Groups and their choices") :]
    listed: dict[str, set[str]] = {}
    for line in section.splitlines()[1:]:
        if match := re.match(r"  (\w+)  +(.*)", line):
            group, text = match.groups()
        else:
            text = line
        listed.setdefault(group, set()).update(re.findall(r"\w+", text.split(";")[0]))
    for path in CONF.glob("*/*.yaml"):
        if path.parent.name != "hydra" and not path.stem.startswith("_"):
            assert path.stem in listed[path.parent.name]
