"""Tells the networks of conf/model from others of the same name."""

from functools import cache
from typing import Any

from omegaconf import OmegaConf

from ccnn.config import CONF
from ccnn.report.runs import Mapped

_ELSEWHERE = ("name", "in_channels", "num_classes", "checkpointing")
"""Keys that follow the data, or change nothing."""


def full_name(name: str, model: Mapped) -> str:
    """The model's name, with whatever makes it another network than the one of that name in conf/model.

    Args:
        name: as reported.
        model: that group of the run's config; empty if it is not known.
    """
    target = str(model.get("_target_", ""))
    if target.endswith(("torchvision_model", "timm_model")):
        return f"{name} ({target.rpartition('.')[2].removesuffix('_model')})"
    if target and not target.startswith("ccnn."):
        return f"{name} ({target.partition('.')[0]})"
    known = _network(name)
    changed = [
        f"model.{key}={str(value).replace(' ', '')}"
        for key, value in model.items()
        if known and key not in _ELSEWHERE and (key not in known or value != known[key])
    ]
    return " ".join([name, *changed])


@cache
def _network(name: str) -> dict[str, Any]:
    """What conf/model says of a network; empty if there is none of that name."""
    path = CONF / "model" / f"{name}.yaml"
    if name != path.stem or not path.is_file():
        return {}
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    own = {key: value for key, value in content.items() if key != "defaults"}
    inherited: dict[str, Any] = {}
    for other in content.get("defaults", []):
        inherited |= _network(other) if other != "_self_" else {}
    return inherited | own
