"""The paper's networks: their size, and that each works with each data set, converted or not."""

import pytest
import torch
from experiments import Compose
from torch import nn

import ccnn
from ccnn.experiment import build
from ccnn.explain import CONF
from ccnn.models import TINY, VGG, resnet, toy

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


# PAPER.md, "Training recipes" and Tables 7 and 8.
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (lambda: toy(), 67_913),
        (lambda: toy(depth=2), 93_833),
        (lambda: resnet(18, channels=TINY), 2_112_546),
        (lambda: resnet(50, channels=TINY, expansion=2), 3_301_349),
    ],
)
def test_parameters_are_the_papers(model: type[nn.Module], parameters: int) -> None:
    assert ccnn.parameters(model()) == parameters


# Table 7 rounds to a tenth of a million: 11.2 and 23.5 with the 100 classes of C100 (23.7) or 10 (23.5).
@pytest.mark.parametrize(("depth", "millions"), [(18, 11.2), (50, 23.5)])
def test_wide_networks_have_the_papers_size(depth: int, millions: float) -> None:
    assert round(ccnn.parameters(resnet(depth)) / 1e6, 1) == millions


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_resnets_have_as_many_layers_as_they_say(depth: int) -> None:
    model = resnet(depth, channels=(8, 8, 8, 8))
    weighted = [
        m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(weighted) == depth


def test_unknown_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="depth: expected one of 18, 34, 50, 101, 152, got 19"):
        resnet(19)
    with pytest.raises(ValueError, match="widths of 4 stages"):
        resnet(18, channels=(1, 2))
    with pytest.raises(ValueError, match="depth: expected one of 11, 13, 16, 19, got 12"):
        VGG(12)


def composed(name: str, data: str, compose: Compose) -> tuple[nn.Module, tuple[int, int, int], int]:
    config = compose(f"model={name}", f"data={data}")
    size = (config.data.channels, config.data.image_size, config.data.image_size)
    return build(config, "model").eval(), size, config.data.num_classes


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_every_data_set(name: str, data: str, compose: Compose) -> None:
    with torch.device("meta"):  # shapes alone: numbers take minutes for all pairs
        model, size, classes = composed(name, data, compose)
        x = torch.empty(2, *size)
        assert model(x).shape == (2, classes)
        assert ccnn.convert(model, size, "lattice")(x).shape == (2, classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_finite_numbers_on_the_smallest_images(name: str, compose: Compose) -> None:
    model, size, classes = composed(name, "digits", compose)
    out = ccnn.convert(model, size)(torch.randn(2, *size))
    assert out.shape == (2, classes)
    assert out.isfinite().all()
