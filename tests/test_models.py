"""The paper's networks: their size, and that each works with each data set, converted or not."""

import pytest
import torch
from experiments import Compose
from torch import nn

import ccnn
from ccnn.building import build
from ccnn.command_line.explain import CONF
from ccnn.models import TINY, VGG, DenseNet, Toy, WideResNet, resnet

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


# PAPER.md, "Training recipes" and Tables 7 and 8.
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (Toy, 67_913),
        (lambda: Toy(depth=2), 93_833),
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


@pytest.mark.parametrize(("depths", "growth", "layers"), [((6, 6, 6), 12, 40), ((6, 12, 24, 16), 32, 121)])
def test_densenets_have_as_many_layers_and_parameters_as_they_say(
    depths: tuple[int, ...], growth: int, layers: int
) -> None:
    """Counted from the description: 1×1 of 4k and 3×3 of k channels a layer, transitions halve the channels."""
    model = DenseNet(depths, growth)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == layers
    channels, count = 2 * growth, 3 * 9 * 2 * growth
    for block, depth in enumerate(depths):
        if block:
            count += 2 * channels + channels * (channels // 2)
            channels //= 2
        for _ in range(depth):
            count += 2 * channels + channels * 4 * growth + 2 * 4 * growth + 9 * 4 * growth * growth
            channels += growth
    count += 2 * channels + channels * 10 + 10
    assert ccnn.parameters(model) == count


def test_the_wide_resnet_has_the_36_5_million_parameters_of_its_authors() -> None:
    with torch.device("meta"):
        model, deep = WideResNet(), WideResNet(submap_depth=2)
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 28
    assert round(ccnn.parameters(model) / 1e6, 1) == 36.5
    assert ccnn.parameters(deep) - ccnn.parameters(model) == 9 * (320**2 + 640**2)


def test_2x3x3_convolutions_of_the_wide_resnet_keep_the_number_of_submaps() -> None:
    model = ccnn.convert(WideResNet(10, 1, submap_depth=2), (3, 16, 16))
    assert ccnn.conversion_report(model).submaps == 4
    assert [getattr(stage[-1].branch[-1], "depth", 1) for stage in model.stages] == [1, 2, 2]  # type: ignore[index]


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vggs_have_as_many_layers_as_they_say(depth: int) -> None:
    with torch.device("meta"):
        model = VGG(depth)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth


def test_unknown_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="compression: expected more than 0 and at most 1, got 2"):
        DenseNet((2, 2), 4, compression=2)
    with pytest.raises(ValueError, match=r"depth: expected 10, 16, 22, 28 or another 6·n \+ 4, got 27"):
        WideResNet(27)
    with pytest.raises(ValueError, match="width, submap_depth: expected at least 1, got 0 and 1"):
        WideResNet(28, 0)
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
