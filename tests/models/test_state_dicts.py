"""Weights are found in a file however people have saved them."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ccnn.errors import UserError
from ccnn.models import torchvision_model
from ccnn.models.state_dicts import load_weights, local_weights

State = dict[str, Tensor]


def network() -> nn.Module:
    """With a part called `model`, whose name must not be taken for a wrapper's."""
    parts = {"stem": nn.Conv2d(1, 8, 3), "model": nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))}
    return nn.ModuleDict(parts)


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "compiled in DDP": lambda state: {"model": prefixed(state, "module._orig_mod.")},
    "a compiled part": lambda state: {name.replace("stem.", "stem._orig_mod."): v for name, v in state.items()},
    "model": lambda state: {"model": state, "epoch": 3},
    "net": lambda state: {"net": state, "acc": 93.1},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "averaged by torchvision": lambda state: {
        "model": {name: value * 0 for name, value in state.items()},
        "model_ema": prefixed(state, "module.") | {"n_averaged": torch.tensor(7)},
        "args": argparse.Namespace(lr=0.1),
    },
    "timm": lambda state: {
        "state_dict": {name: value * 0 for name, value in state.items()}, "state_dict_ema": state,
        "arch": "resnet18", "args": argparse.Namespace(lr=0.1),
    },
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "hyper_parameters": {"lr": 0.1}},
    "Lightning, compiled": lambda state: {"state_dict": prefixed(state, "net._orig_mod."), "loops": {}},
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_weights_load_from_a_checkpoint_as_people_have_them(wrapper: str, tmp_path: Path) -> None:
    source, target = network(), network()
    path = str(tmp_path / "weights.pth")
    torch.save(WRAPPED[wrapper](source.state_dict()), path)
    state = local_weights(path)
    assert state is not None
    load_weights(target, state, path, strict=True)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_what_torch_itself_averages_loads(tmp_path: Path) -> None:
    averaged = AveragedModel(network())
    torch.save({"model_ema": averaged.state_dict()}, tmp_path / "ema.pth")
    target, state = network(), local_weights(str(tmp_path / "ema.pth"))
    assert state is not None
    load_weights(target, state, "ema.pth", strict=True)
    assert torch.equal(target.state_dict()["stem.weight"], averaged.module.state_dict()["stem.weight"])


def test_safetensors_load(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    source = network().state_dict()
    safetensors.save_file(source, tmp_path / "weights.safetensors")
    state = local_weights(str(tmp_path / "weights.safetensors"))
    assert state is not None
    assert all(torch.equal(state[name], value) for name, value in source.items())
    (tmp_path / "weights.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="does not hold a state_dict of tensors"):
        local_weights(str(tmp_path / "weights.safetensors"))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [{"state_dict": {"stem.weight": 1}}, {}, [1], {"model": Bomb()}])
def test_a_file_without_weights_is_an_error_and_nothing_in_it_runs(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "weights.pth")
    with pytest.raises(UserError, match=r"'weights\.pth' does not hold a state_dict of tensors"):
        local_weights("weights.pth")
    assert not Path("exploded").exists()


@pytest.mark.parametrize(("weights", "known"), [("nowhere.pth", True), ("folder/x", True), ("DEFAULT", False)])
def test_a_missing_file_is_an_error_unless_it_may_be_a_name(weights: str, known: bool) -> None:
    if not known:
        assert local_weights(weights) is None
        return
    with pytest.raises(UserError, match=f"there is no file '{weights}'"):
        local_weights(weights)


def test_another_number_of_classes_needs_strict_false(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pth")
    source = torchvision_model("squeezenet1_1", num_classes=10)
    torch.save(source.state_dict(), path)
    with pytest.raises(UserError, match=r"does not fit: classifier.1.bias has the shape \(10,\), expected \(3,\)"):
        torchvision_model("squeezenet1_1", num_classes=3, weights=path)
    target = torchvision_model("squeezenet1_1", num_classes=3, weights=path, strict=False)
    assert torch.equal(target.state_dict()["features.0.weight"], source.state_dict()["features.0.weight"])
    with pytest.raises(UserError, match=r"is of another network: it lacks .* and has .* besides"):
        torchvision_model("resnet18", num_classes=10, weights=path)
