"""dilate() computes what complete multisampling computes, and refuses what it cannot."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn
from ccnn.models import resnet
from ccnn.multisampling.conversion import conversion_report
from ccnn.multisampling.dilated import DilatedConv2d
from ccnn.multisampling.submaps import offsets, to_dense

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def small_resnet() -> nn.Module:
    return resnet(18, channels=(8, 12, 16, 20))


def narrow_vgg() -> nn.Module:
    layers = torchvision.models.vgg.make_layers([6, "M", 8, "M", 10, "M"], batch_norm=True)
    model = torchvision.models.VGG(layers, init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(10 * 7 * 7, 16), nn.ReLU(), nn.Linear(16, 7))
    return model


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "own resnet": small_resnet,
    "resnet": lambda: torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, [1] * 4, 7, width_per_group=4
    ),
    "squeezenet": lambda: torchvision.models.squeezenet1_1(num_classes=7),
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=7),
    "vgg": narrow_vgg,
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=7),
}


SLOW = ("resnet", "mobilenet_v2")


def twins(plain: nn.Module, size: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """The dilated network and the complete CCNN."""
    dilated = ccnn.dilate(copy.deepcopy(plain), (3, *size))
    return dilated, ccnn.convert(copy.deepcopy(plain), (3, *size), "complete")


@pytest.mark.parametrize("size", [(64, 96), (67, 50)])
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FAMILIES]
)
def test_networks_agree_with_complete_multisampling(family: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    plain = randomised(FAMILIES[family]().double()).eval()
    dilated, complete = twins(plain, size)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(dilated(x), complete(x), **CLOSE)
        assert not torch.allclose(dilated(x), plain(x), rtol=1e-3)
    assert ccnn.multiply_adds(dilated, (3, *size)) == ccnn.multiply_adds(complete, (3, *size))


def test_strides_become_dilation_as_written_by_hand() -> None:
    torch.manual_seed(0)
    first, second, third = (
        nn.Conv2d(3, 5, 3, 2, 1),
        nn.Conv2d(5, 6, 3, 2, 1),
        nn.Conv2d(6, 4, 3, 1, 1),
    )
    model = nn.Sequential(first, second, third, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    x = torch.randn(2, 3, 20, 28, dtype=torch.float64)
    with torch.no_grad():
        dense = F.conv2d(x, first.weight, first.bias, stride=1, padding=1, dilation=1)
        dense = F.conv2d(dense, second.weight, second.bias, stride=1, padding=2, dilation=2)
        dense = F.conv2d(dense, third.weight, third.bias, stride=1, padding=4, dilation=4)
        dilated = ccnn.dilate(model, (3, 20, 28))
        torch.testing.assert_close(dilated(x), dense.mean((2, 3)), rtol=1e-12, atol=1e-12)


def test_training_agrees_with_complete_multisampling() -> None:
    torch.manual_seed(0)
    dilated, complete = twins(randomised(small_resnet().double()).train(), (32, 32))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for model in (dilated, complete):
        model(x).square().sum().backward()
    for (name, ours), (_, theirs) in zip(dilated.named_parameters(), complete.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, **CLOSE, msg=name)
    torch.testing.assert_close(dilated.state_dict(), complete.state_dict(), **CLOSE)


def test_squeeze_and_excitation_and_group_norm_see_the_whole_map() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.GroupNorm(2, 8),
        torchvision.ops.SqueezeExcitation(8, 4),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 5, 3, padding=1),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
    )
    dilated, complete = twins(model.double().eval(), (20, 22))
    x = torch.randn(2, 3, 20, 22, dtype=torch.float64)
    torch.testing.assert_close(dilated(x), complete(x), **CLOSE)


LAYERS: dict[str, nn.Module] = {
    "even kernel": nn.Conv2d(4, 3, 4, 2, 1),
    "wide padding": nn.Conv2d(4, 3, 3, 2, 3),
    "oblong kernel": nn.Conv2d(4, 3, (1, 5), 2, (0, 2)),
    "dilation": nn.Conv2d(4, 3, 3, 2, 2, dilation=2),
    "depthwise": nn.Conv2d(4, 4, 3, 2, 1, groups=4),
    "pointwise": nn.Conv2d(4, 3, 1, 2),
    "stride 3": nn.Conv2d(4, 3, 3, 3),
    "stride 1, same": nn.Conv2d(4, 3, 4, padding="same"),
    "max": nn.MaxPool2d(3, 2, 1),
    "max, ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max, 2 padded": nn.MaxPool2d(2, 2, 1),
    "max, dilated": nn.MaxPool2d(2, 2, 1, dilation=2),
    "max, stride 1": nn.MaxPool2d(3, 1, 1),
    "max, pads rows that become windows": nn.MaxPool2d(2, 3, 1, ceil_mode=True),
    "average": nn.AvgPool2d(2),
    "average, padded": nn.AvgPool2d(3, 2, 1),
    "average, without padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average, ceil, without padding": nn.AvgPool2d(2, 3, 1, ceil_mode=True, count_include_pad=False),
    "average, divisor": nn.AvgPool2d(2, divisor_override=3),
    "average, stride 1": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("size", [(24, 24), (25, 22), (19, 33)])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_dense_map_is_the_submaps_put_in_place(kind: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(LAYERS[kind]).double()
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1).double(), layer)
    dilated, complete = twins(plain, size)
    maps: list[Tensor] = []
    complete[1].register_forward_hook(lambda module, args, out: maps.append(out))  # type: ignore[index]
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    complete(x)
    steps = conversion_report(complete).steps
    dense = to_dense(maps[0], offsets(steps), math.prod(stride for stride, _ in steps))
    assert maps[0].isfinite().all()
    torch.testing.assert_close(dilated(x), dense, **CLOSE)


@pytest.mark.parametrize("head", [nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d((1, 2))])
def test_the_last_pooling_may_be_any_average(head: nn.Module) -> None:
    width = 4 * (head(torch.zeros(1, 4, 4, 4)).numel() // 4)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), head, nn.Flatten(), nn.Linear(width, 5)
    )
    dilated, complete = twins(model.double().eval(), (16, 16))
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(dilated(x), complete(x), **CLOSE)


def test_parameters_names_and_layers_stay() -> None:
    model = small_resnet()
    parameters, state = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    assert ccnn.dilate(model, (3, 32, 32)) is model
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    last = model.get_submodule("stages.3.1.branch.0")
    assert isinstance(last, DilatedConv2d)
    assert last.spacing == 8
    assert "spacing=8" in repr(last)
    strided = model.get_submodule("stages.3.0.branch.0")
    assert isinstance(strided, DilatedConv2d)
    assert (strided.stride, strided.spacing) == ((2, 2), 4)
    assert type(model.get_submodule("stages.0.0.branch.0")) is nn.Conv2d


def test_runs_on_other_sizes_and_as_a_copy() -> None:
    dilated, complete = twins(small_resnet().double().eval(), (32, 32))
    x = torch.randn(1, 3, 39, 50, dtype=torch.float64)
    torch.testing.assert_close(dilated(x), complete(x), **CLOSE)
    assert torch.equal(pickle.loads(pickle.dumps(dilated))(x), dilated(x))


def test_dilates_plain_networks_once() -> None:
    model = ccnn.dilate(small_resnet(), (3, 32, 32))
    with pytest.raises(ccnn.ConversionError, match="dilated already"):
        ccnn.dilate(model, (3, 32, 32))
    with pytest.raises(ccnn.ConversionError, match="converted already"):
        ccnn.dilate(ccnn.convert(small_resnet(), (3, 32, 32)), (3, 32, 32))
    with pytest.raises(TypeError, match="expected a model"):
        ccnn.dilate("resnet18", (3, 32, 32))  # type: ignore[type-var]
    with pytest.raises(ValueError, match="input_size: expected"):
        ccnn.dilate(small_resnet(), (3, 32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a map of 33×32 is no dense map: its sides are no multiples of 8"):
        model.get_submodule("stages.3.1.branch.0")(torch.zeros(1, 512, 33, 32))
