"""Composes the configuration in conf/ for programs that are not Hydra's own."""

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
from ccnn.config import CONF


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """A config of conf/, such as `config` or `evaluate`, with overrides as on the command line.

    Example:
        >>> compose("config", ["model=toy"]).model.name
        'toy'
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose(name, overrides=list(overrides))
