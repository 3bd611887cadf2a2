"""Networks of torchvision and timm convert as they come, and the configs build them."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from experiments import Compose
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn
from ccnn.config import validate
from ccnn.config.targets import validate_targets
from ccnn.errors import UserError
from ccnn.models import timm_model, torchvision_model
from ccnn.multisampling.conversion.meta import outputs
from ccnn.multisampling.samplers import resolve
from ccnn.multisampling.submaps import unfold
from ccnn.multisampling.windows import pair, strides
from ccnn.training.build import build
from scripts import networks

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"
FOREIGN = [
    "ignore:.*:DeprecationWarning",  # the libraries' own
    "ignore:.*:FutureWarning",
]


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return pytest.importorskip("timm")


# timm's layers

LAYERS: dict[str, Callable[[Any], nn.Module]] = {
    "Conv2dSame": lambda layers: layers.Conv2dSame(4, 6, 3, stride=2),
    "Conv2dSame 1×1": lambda layers: layers.Conv2dSame(4, 6, 1, stride=2),
    "Conv2dSame dilated": lambda layers: layers.Conv2dSame(4, 4, (5, 3), stride=3, dilation=2, groups=2),
    "StdConv2d": lambda layers: layers.StdConv2d(4, 6, 3, stride=2, bias=True),
    "StdConv2dSame": lambda layers: layers.StdConv2dSame(4, 6, 3, stride=2),
    "StdConv2dSame static": lambda layers: layers.StdConv2dSame(4, 6, 3, stride=2, padding=""),
    "ScaledStdConv2d": lambda layers: layers.ScaledStdConv2d(4, 6, 3, stride=2, gamma=1.7),
    "ScaledStdConv2dSame": lambda layers: layers.ScaledStdConv2dSame(4, 6, 5, stride=2, groups=2),
    "MaxPool2dSame": lambda layers: layers.MaxPool2dSame(3, 2),
    "MaxPool2dSame even": lambda layers: layers.MaxPool2dSame(2, 2, ceil_mode=True),
    "AvgPool2dSame": lambda layers: layers.AvgPool2dSame(3, 2),
    "AvgPool2dSame excluding": lambda layers: layers.AvgPool2dSame(2, 2, ceil_mode=True, count_include_pad=False),
    "BlurPool2d": lambda layers: layers.BlurPool2d(4),
    "BlurPool2d zeros": lambda layers: layers.BlurPool2d(None, filt_size=5, pad_mode="constant"),
}


def layer_named(name: str) -> nn.Module:
    layers = pytest.importorskip("timm.layers")
    for kind in ("MaxPool2dSame", "AvgPool2dSame"):  # not exported
        if not hasattr(layers, kind):
            setattr(layers, kind, getattr(pytest.importorskip("timm.layers.pool2d_same"), kind))
    torch.manual_seed(0)
    layer = LAYERS[name](layers).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def oracle(layer: Any, x: Tensor, windows: tuple[int, int]) -> Callable[[int, int], Tensor]:
    """The layer's operation at stride 1 on the padded input; yields the samples of one position."""
    kind: type[Any] = type(layer)
    same = "Same" in kind.__name__ and getattr(layer, "same_pad", True)
    kernel = layer.filt.shape[-2:] if hasattr(layer, "filt") else pair(layer.kernel_size)
    border = -torch.inf if issubclass(kind, nn.MaxPool2d) else 0.0
    if same:
        padding = pytest.importorskip("timm.layers.padding").pad_same_arg(
            x.shape[2:], kernel, pair(layer.stride), pair(getattr(layer, "dilation", 1))
        )
        x = F.pad(x, padding, value=border)
    elif hasattr(layer, "filt"):
        x = F.pad(x, layer.padding, mode=layer.pad_mode)
    else:
        x = F.pad(x, [pair(layer.padding)[1]] * 2 + [pair(layer.padding)[0]] * 2)
    inside = F.pad(torch.ones_like(x), (0, 30, 0, 30))
    x = F.pad(x, (0, 30, 0, 30), value=border)
    if issubclass(kind, nn.MaxPool2d):
        dense = F.max_pool2d(x, kernel, 1)
        dense = dense.masked_fill(dense.isinf(), 0.0)
    elif issubclass(kind, nn.AvgPool2d):
        dense = F.avg_pool2d(x, kernel, 1)
        if not layer.count_include_pad:  # as PyTorch's own: what lies beyond the border does not count
            dense = dense / F.avg_pool2d(inside, kernel, 1).clamp(min=1e-9)
    elif hasattr(layer, "filt"):
        dense = F.conv2d(x, layer.filt.expand(x.shape[1], -1, -1, -1), groups=x.shape[1])
    else:
        weight: Any = layer.weight
        if "Std" in kind.__name__:
            centred = weight - weight.mean((1, 2, 3), keepdim=True)
            weight = centred / (centred.square().mean((1, 2, 3), keepdim=True) + layer.eps).sqrt()
        if "Scaled" in kind.__name__:
            weight = weight * layer.gain * layer.scale
        dense = F.conv2d(x, weight, layer.bias, 1, 0, layer.dilation, layer.groups)
    stride = pair(layer.stride)
    return lambda dy, dx: dense[:, :, dy :: stride[0], dx :: stride[1]][:, :, : windows[0], : windows[1]]


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (11, 12)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_a_timm_layer_takes_each_position_of_its_window(name: str, size: tuple[int, int]) -> None:
    layer = layer_named(name)
    x = torch.randn(2, 4, *size, dtype=torch.float64) - 3  # padding that won a maximum would show
    plain = layer(x)
    picked = oracle(layer, x, (plain.shape[2], plain.shape[3]))
    torch.testing.assert_close(plain, picked(0, 0))
    stride = strides(layer)[0]
    layer = ccnn.convert(nn.Sequential(layer), (4, *size), "naive", merge=None)[0]
    maps = unfold(layer(x), stride)
    torch.testing.assert_close(maps[0], plain)
    for submap, (dy, dx) in zip(maps, resolve("naive").assignment((stride,))[0], strict=True):
        torch.testing.assert_close(submap, picked(dy, dx))


def test_ccnn_does_not_import_timm() -> None:
    from subprocess import run
    from sys import executable

    code = "import sys, ccnn, ccnn.models, ccnn.multisampling.conversion.rules; sys.exit('timm' in sys.modules)"
    assert run([executable, "-c", code], cwd=PAGE.parents[1], check=False).returncode == 0


# Whole networks

SMALLEST = [
    "alexnet", "googlenet", "mnasnet0_5", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5",
    "squeezenet1_1", "vgg11_bn",
]  # fmt: skip
OF_EACH_FAMILY = list({networks.family(name): name for name in reversed(networks.torchvision_names())}.values())
"""The first of each family by name; docs/networks.md has all of them."""


def leaves(output: Any) -> list[Tensor]:
    return list(output) if isinstance(output, tuple | list) else [output]


def check_training(model: nn.Module, sizes: tuple[int, ...]) -> None:
    """Forward and backward in training mode give finite numbers of the right shape."""
    model.train()
    for size in sizes:
        found = leaves(model(torch.randn(2, 3, size, size)))
        assert all(output.shape == (2, 10) for output in found)
        torch.stack([F.cross_entropy(output, torch.tensor([1, 2])) for output in found]).sum().backward()
        assert all(output.isfinite().all() for output in found)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def check_blank(library: str, name: str, sampling: str | ccnn.Sampling) -> ccnn.ConversionReport:
    """Converts a network without numbers and runs it in both modes."""
    model, size = networks.build(library, name, num_classes=10)
    names = list(model.state_dict())
    ccnn.convert(model, size, sampling)
    assert list(model.state_dict()) == names
    for training in (False, True):
        assert all(output.shape == (3, 10) for output in outputs(model.train(training), size))
    return ccnn.conversion_report(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_EACH_FAMILY)
def test_every_family_of_torchvision_converts(name: str) -> None:
    report = check_blank("torchvision", name, "naive")
    assert report.submaps > 1
    assert set(report.traditional) <= {"aux1", "aux2"}  # GoogLeNet's heads pool to 4×4, whatever the size is


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_torchvision_ccnn_trains_at_odd_and_even_sizes(name: str) -> None:
    model = ccnn.convert(torchvision_model(name, 10), (3, 64, 64), "lattice")
    check_training(model, (64, 75))


@pytest.mark.slow
def test_inception_trains_with_its_auxiliary_head() -> None:
    model = ccnn.convert(torchvision_model("inception_v3", 10), (3, 299, 299), "lattice")
    assert any("max_pool2d" in layer.name for layer in ccnn.conversion_report(model).layers)
    model.eval()
    for size in (128, 131):
        output = model(torch.randn(2, 3, size, size))
        assert output.shape == (2, 10)
        assert output.isfinite().all()
    cheaper = ccnn.Sampling("lattice", skip_first=3)
    model = ccnn.convert(torchvision_model("inception_v3", 10), (3, 299, 299), cheaper)
    check_training(model, (299,))  # as small as its auxiliary head allows; the pooling before it takes 5×5
    assert all(p.grad is not None for p in model.get_submodule("AuxLogits").parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize(
    "name",
    [
        "tf_mobilenetv3_small_075", "resnetblur18", "test_nfnet", "test_efficientnet", "ese_vovnet19b_slim_dw",
    ],
)  # fmt: skip
def test_a_timm_ccnn_trains_at_odd_and_even_sizes(name: str, timm: ModuleType) -> None:
    model = ccnn.convert(timm_model(name, 10), (3, 64, 64), "lattice")
    assert not ccnn.conversion_report(model).traditional
    check_training(model, (64, 75))


@pytest.mark.slow
@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize(
    "name",
    ["dm_nfnet_f0", "resnetv2_50x1_bit", "tf_efficientnetv2_b0", "resnetaa34d", "tf_mixnet_l", "convnext_atto"],
)
def test_large_timm_networks_with_layers_of_their_own_convert(name: str, timm: ModuleType) -> None:
    assert not check_blank("timm", name, "naive").traditional


@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize("name", ["resnet18", "tf_mobilenetv3_small_minimal_100", "convnext_atto"])
def test_each_level_of_features_only_comes_back_merged(name: str, timm: ModuleType) -> None:
    model = timm.create_model(name, features_only=True).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
        merged = ccnn.convert(model, (3, 64, 64), "naive")(x)
        model._forward_hooks.clear()  # the merge is one of them
        folded = model(x)
    assert [level.shape for level in merged] == [level.shape for level in plain]
    for level, submaps in zip(merged, folded, strict=True):
        torch.testing.assert_close(level, submaps.view(-1, *level.shape).mean(0))
    assert [len(submaps) // 2 for submaps in folded][-1] > 2


@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize(
    ("name", "place"),
    [("hrnet_w18_small", "transition1.1.0.0"), ("ghostnetv2_100", "blocks.2.0.ghost1.avg_pool2d[0]")],
)
def test_side_branches_that_come_up_again_stay_traditional(name: str, place: str, timm: ModuleType) -> None:
    model, size = networks.build("timm", name)
    report = ccnn.conversion_report(ccnn.convert(model, size, "lattice"))
    assert report.traditional[place].startswith("branches of 4 and 8 submaps meet in")
    assert report.submaps > 1


def test_the_page_lists_every_network_and_at_least_95_of_100_families_convert() -> None:
    rows = re.findall(r"^\| [^|]+ \| (\w+) \| \d+×\d+×\d+ \| (\d*) ?\|", PAGE.read_text(), re.MULTILINE)
    for library, count in re.findall(r"\((torchvision|timm) ([\d.]+)", PAGE.read_text()):
        if pytest.importorskip(library).__version__.split("+")[0] != count.rstrip("."):
            pytest.skip(f"the page was written with {library} {count}")
    ours = networks.torchvision_names()
    assert [name for name, _ in rows[: len(ours)]] == ours
    assert all(submaps for name, submaps in rows[: len(ours)])
    theirs = rows[len(ours) :]
    families = networks.timm_families().values()
    assert len(theirs) == len(families)
    assert all(name in names for (name, _), names in zip(theirs, families, strict=True))
    assert sum(bool(submaps) for _, submaps in theirs) >= 0.95 * len(theirs)


# What the configs build


@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize(("library", "name"), [("torchvision", "resnet18"), ("timm", "test_resnet")])
def test_the_config_names_a_network_and_the_data_set_its_classes(
    library: str, name: str, compose: Compose
) -> None:
    if library == "timm":
        pytest.importorskip("timm")
    config = compose(f"model={library}", f"model.name={name}", "data=digits", "convert=true")
    validate(config)
    validate_targets(config)
    model = build(config, "model").eval()
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.filterwarnings(*FOREIGN)
@pytest.mark.parametrize("name", networks.torchvision_names()[::8])
def test_torchvision_networks_take_other_channels(name: str) -> None:
    with networks.Blank():
        model = torchvision_model(name, 7, in_channels=1).eval()
    assert outputs(model, (1, 224, 224))[0].shape == (3, 7)


@pytest.mark.parametrize(("make", "name"), [(torchvision_model, "resnet118"), (timm_model, "resnet118d")])
def test_unknown_networks_are_refused_with_near_names(make: Callable[..., nn.Module], name: str) -> None:
    if make is timm_model:
        pytest.importorskip("timm")
    with pytest.raises(UserError, match=rf"model.name: .*{name}.*did you mean 'resnet18"):
        make(name, 10)


def test_timm_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[timm\]'"):
        timm_model("resnet18", 10)


SMALL = "squeezenet1_1"


def test_weights_come_from_a_local_file_plain_converted_or_of_a_run(tmp_path: Path) -> None:
    model = torchvision_model(SMALL, 10)
    ccnn.convert(model, (3, 64, 64), "naive")
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    of_a_run = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": of_a_run}, tmp_path / "run.ckpt")
    for file in ("plain.pt", "run.ckpt"):
        loaded = torchvision_model(SMALL, 10, weights=str(tmp_path / file))
        torch.testing.assert_close(loaded.state_dict(), model.state_dict())


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    def refused(match: str, weights: str, name: str = SMALL, **arguments: Any) -> None:
        with pytest.raises(UserError, match=match):
            torchvision_model(name, **{"num_classes": 10, "weights": weights, **arguments})

    file = str(tmp_path / "weights.pt")
    refused("there is no file", file)
    refused("did you mean 'IMAGENET1K_V1'", "IMAGENET1K")
    torch.save(torchvision_model(SMALL, 10).state_dict(), file)
    refused("of another network: it lacks", file, name="mobilenet_v3_small")
    refused(r"classifier.1.bias has the shape \(10,\), expected \(7,\).*model.strict=false", file, num_classes=7)
    refused("features.0.weight has the shape", file, in_channels=1)
    torch.save([1, 2], file)
    refused("does not hold a state_dict", file)
    Path(file).write_text("no weights")
    refused("does not hold a state_dict", file)


def test_strict_false_starts_anew_what_has_another_shape(tmp_path: Path) -> None:
    other = torchvision_model(SMALL, 10)
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    model = torchvision_model(SMALL, 7, weights=str(tmp_path / "weights.pt"), strict=False)
    own, theirs = model.state_dict(), other.state_dict()
    assert own["classifier.1.weight"].shape[0] == 7
    same = [name for name in own if not name.startswith("classifier")]
    assert all(torch.equal(own[name], theirs[name]) for name in same)


def test_weights_that_cannot_be_downloaded_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"'DEFAULT' cannot be downloaded: no network"):
        torchvision_model(SMALL, 1000, weights="DEFAULT")


@pytest.mark.filterwarnings(*FOREIGN)
def test_timm_weights_are_named_by_their_tags(timm: ModuleType) -> None:
    with pytest.raises(UserError, match=r"no weights of resnet18 by that name; did you mean 'a1_in1k'"):
        timm_model("resnet18", 10, weights="a1_in")
    with pytest.raises(UserError, match="it comes without any"):
        timm_model("nf_resnet26", 10, weights="DEFAULT")
