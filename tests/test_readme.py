"""The README's commands and code run as they stand."""

import re
import shlex
from itertools import product
from pathlib import Path

import pytest
import torch
import torchvision
from experiments import Compose

from ccnn.config import validate
from ccnn.config.targets import validate_targets

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    if line.startswith("python train.py")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command: str, compose: Compose) -> None:
    overrides = [word for word in shlex.split(command)[2:] if word != "-m"]
    choices = [
        [f"{key}={value}" for value in values.split(",")] for key, values in (o.split("=", 1) for o in overrides)
    ]
    for job in product(*choices):
        config = compose(*job)
        validate(config)
        validate_targets(config)


@pytest.mark.parametrize("code", [block for language, block in BLOCKS if language == "python"])
@pytest.mark.slow
def test_code_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = torchvision.models.resnet50
    monkeypatch.setattr(torchvision.models, "resnet50", lambda weights: build(weights=None))  # no download here
    with torch.no_grad():
        exec(code, {})


def test_the_first_screen_has_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:30])
    assert "make train " in first
    assert "make test " in first
