"""convert() on whole networks: what it changes, what it preserves, and the 5-D networks of the paper."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from reference import LATTICE, Reference5d, naive
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn
from ccnn.models import Toy, resnet
from ccnn.multisampling.conversion import ConversionError, conversion_report, convert
from ccnn.multisampling.convolution import CheckeredConv2d
from ccnn.multisampling.joint import JointAdaptiveAvgPool2d, JointDropout2d
from ccnn.multisampling.pooling import CheckeredMaxPool2d

LEVELS = {"naive": naive, "lattice": lambda n: LATTICE[:n]}


def small_resnet(depth: int = 18) -> nn.Module:
    return randomised(resnet(depth, channels=(8, 12, 16, 20), expansion=2))


# --- against the published scheme in 5-D ---------------------------------------------------------------


def narrow_vgg() -> nn.Module:
    widths: list[str | int] = [6, "M", 8, "M", 10, 10, "M", 12, 12, "M", 12, 12, "M"]
    model = torchvision.models.VGG(torchvision.models.vgg.make_layers(widths, batch_norm=True), init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(12 * 7 * 7, 16), nn.ReLU(), nn.Linear(16, 7))
    return model


def families() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    models = torchvision.models
    return {
        "resnet18": models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7),
        "resnet50": models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=7),
        "vgg11_bn": narrow_vgg(),
        "densenet": models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=7),
    }


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["naive", "lattice"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", ["resnet18", "resnet50", "vgg11_bn", "densenet"])
def test_agrees_with_the_5d_network(family: str, training: bool, sampling: str) -> None:
    plain = randomised(families()[family].double()).train(training)
    reference = Reference5d(plain, LEVELS[sampling](5))
    converted = convert(plain, (3, 64, 64), sampling)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected, got = reference(x), converted(x)
    weights = torch.randn_like(got)
    (expected * weights).sum().backward()
    (got * weights).sum().backward()
    close: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(got, expected, **close)
    grads = reference.grads_2d()
    assert len(grads) == len(list(converted.parameters()))
    for name, parameter in converted.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], **close)
    state = reference.state_2d()
    for name, value in converted.state_dict().items():
        torch.testing.assert_close(value, state[name], **close)


@pytest.mark.parametrize("size", [16, 28, 32, 33])
@pytest.mark.parametrize("sampling", ["naive", "lattice"])
def test_first_submap_is_the_plain_networks_feature_map(size: int, sampling: str) -> None:
    plain = randomised(small_resnet().double()).eval()
    converted = convert(copy.deepcopy(plain), (3, size, size), sampling)
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    maps: list[Tensor] = []
    for model in (plain, converted):
        model.get_submodule("stages").register_forward_hook(lambda module, args, out: maps.append(out))
        model(x)
    assert maps[1].shape[0] == 8 * maps[0].shape[0]
    # The lattice's first sampler is the standard one in each published step, so submap 0 is never shifted.
    torch.testing.assert_close(maps[1][:2], maps[0], rtol=1e-12, atol=1e-12)


# --- what is preserved ---------------------------------------------------------------------------------


def test_parameters_keep_identity_names_and_state() -> None:
    model = small_resnet()
    before, state = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    modules = dict(model.named_modules())
    assert convert(model, (3, 32, 32)) is model
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert all(module is modules[name] for name, module in model.named_modules())
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    plain = small_resnet()
    plain.load_state_dict(model.state_dict())
    model.load_state_dict(plain.state_dict())


def test_flags_hooks_ties_and_padding_modes_stay() -> None:
    shared = nn.Conv2d(4, 4, 3, stride=2, padding=1, padding_mode="circular", dtype=torch.float64)
    model = nn.Sequential(shared, nn.ReLU(), shared).eval()
    shared.weight.requires_grad_(False)
    seen: list[int] = []
    shared.register_forward_hook(lambda module, args, out: seen.append(out.shape[0]))
    convert(model, (4, 16, 16))
    seen.clear()
    model(torch.randn(5, 4, 16, 16, dtype=torch.float64))
    assert seen == [10, 20]
    assert model[0] is model[2] is shared
    assert not shared.weight.requires_grad
    assert not shared.training
    assert shared.padding_mode == "circular"
    assert shared.weight.dtype == torch.float64


def test_converting_twice_changes_nothing() -> None:
    model = convert(small_resnet(), (3, 32, 32))
    described, hooks = repr(model), len(model.classifier._forward_pre_hooks)  # type: ignore[union-attr]
    assert repr(convert(model, (3, 32, 32))) == described
    assert len(model.classifier._forward_pre_hooks) == hooks == 1  # type: ignore[union-attr]
    with pytest.raises(ConversionError, match="converted already, with sampling='naive'"):
        convert(model, (3, 32, 32), "lattice")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_compute_the_same(copied: Any) -> None:
    model = convert(small_resnet(), (3, 32, 32), "lattice").eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(copied(model)(x), model(x))
    assert conversion_report(copied(model)) == conversion_report(model)


@pytest.mark.slow
def test_torch_compile_computes_the_same() -> None:
    model = convert(small_resnet(), (3, 32, 32), "lattice").eval()
    x = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_channels_last_and_bf16() -> None:
    model = convert(small_resnet(), (3, 32, 32)).eval()
    x = torch.randn(4, 3, 32, 32)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())
    formats: list[bool] = []
    model.get_submodule("stages").register_forward_hook(
        lambda module, args, out: formats.append(out.is_contiguous(memory_format=torch.channels_last))
    )
    got = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert formats == [True]


# --- what becomes of the network -----------------------------------------------------------------------


def test_report_tells_what_was_done() -> None:
    report = conversion_report(convert(small_resnet(), (3, 32, 32), "lattice"))
    assert [layer.name for layer in report.layers] == [
        f"stages.{i}.0.{path}" for i in (1, 2, 3) for path in ("branch.0", "shortcut.0")
    ]
    assert [layer.submaps for layer in report.layers[::2]] == [(1, 2), (2, 4), (4, 8)]
    assert [layer.size for layer in report.layers[::2]] == [(16, 16), (8, 8), (4, 4)]
    assert (report.merge, report.submaps, report.joint) == (("classifier",), 8, ("pool",))
    text = str(report)
    assert "6 layers converted, sampling=lattice, input 3×32×32" in text
    assert "submaps 4 → 8, each 4×4, stride 2: stages.3.0.branch.0, stages.3.0.shortcut.0" in text
    assert "8 submaps merged at the input of 'classifier'" in text
    with pytest.raises(ValueError, match="not converted"):
        conversion_report(small_resnet())


class TutorialNet(nn.Module):
    """One pooling and one dropout for every level, as in many a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5, padding=2), nn.Conv2d(6, 8, 5, padding=2)
        self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout2d(0.5)
        self.fc1, self.fc2 = nn.Linear(8 * 8 * 8, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.pool(F.relu(self.conv1(x))))
        x = self.drop(self.pool(F.relu(self.conv2(x))))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def test_one_pooling_for_every_level() -> None:
    model = TutorialNet()
    report = conversion_report(convert(model, (3, 32, 32)))
    assert [layer.submaps for layer in report.layers] == [(1, 2), (2, 4)]
    assert report.merge == ("fc1",)
    assert "drop" in report.traditional
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    untouched = TutorialNet()
    with pytest.raises(ConversionError, match=r"'pool' is called with 1 and 2 submaps.*sampling='naive'"):
        convert(untouched, (3, 32, 32), "lattice")
    assert type(untouched.pool) is nn.MaxPool2d


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.squeeze, self.excite = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * self.excite(self.squeeze(x).flatten(1)).sigmoid()[:, :, None, None]
        return self.fc(F.relu(x).mean((2, 3)))


def test_squeeze_and_excitation_in_two_dimensions_is_no_head() -> None:
    model = SqueezeExcite().eval()
    assert conversion_report(convert(model, (3, 16, 16))).merge == ("fc",)
    # One excitation for all submaps of an image, from their joint mean.
    seen: list[Tensor] = []
    model.excite.register_forward_hook(lambda module, args, out: seen.append(out))
    model(torch.randn(3, 3, 16, 16))
    assert torch.equal(seen[0][:3], seen[0][3:])


def test_dropout_and_pooling_see_all_submaps() -> None:
    model = convert(Toy(), (1, 28, 28))
    assert isinstance(model.dropout, JointDropout2d)
    assert isinstance(model.pool, JointAdaptiveAvgPool2d)


def test_the_2x3x3_toy_leaves_one_submap() -> None:
    model = Toy(depth=2)
    report = conversion_report(convert(model, (1, 28, 28)))
    assert (report.merge, model.stages[1].conv5.submaps) == ((), 2)  # type: ignore[union-attr]
    assert model(torch.randn(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(
    "root",
    [nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.MaxPool2d(2)],
    ids=["convolution", "pooling"],
)
def test_the_root_itself_may_be_strided(root: nn.Module) -> None:
    plain = copy.deepcopy(root)
    x = torch.randn(2, 3, 8, 8)
    got = convert(root, (3, 8, 8))(x)
    assert isinstance(root, CheckeredConv2d | CheckeredMaxPool2d)
    shifted = F.pad(x, (0, 1, 0, 1), value=-torch.inf if isinstance(root, nn.MaxPool2d) else 0)
    if isinstance(plain, nn.Conv2d):  # pads on its own, above and to the left of the shifted window too
        shifted, plain.padding = F.pad(shifted, (1, 1, 1, 1)), (0, 0)
        first, second = plain(shifted[:, :, :-1, :-1])[:, :, :4, :4], plain(shifted[:, :, 1:, 1:])[:, :, :4, :4]
    else:
        first, second = plain(x), plain(shifted[:, :, 1:, 1:])
    torch.testing.assert_close(got, (first + second) / 2)


def test_a_head_that_is_replaced_afterwards_is_merged_too() -> None:
    """As for fine-tuning: the new classifier comes without the hook at the old one's input."""
    model = convert(small_resnet(), (3, 32, 32)).eval()
    x = torch.randn(4, 3, 32, 32)
    expected = model(x)
    model.classifier = copy.deepcopy(model.classifier)
    model.classifier._forward_pre_hooks.clear()  # type: ignore[union-attr]
    torch.testing.assert_close(model(x), expected)


def test_users_hooks_see_the_merged_input_and_nothing_of_the_dry_run() -> None:
    model = small_resnet()
    rows: list[int] = []
    model.get_submodule("classifier").register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    convert(model, (3, 32, 32))
    assert rows == []
    model(torch.randn(4, 3, 32, 32))
    assert rows == [4]


class Heads(nn.Module):
    """Two heads, and a table of 6 rows that has nothing to do with the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.a = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        self.b = copy.deepcopy(self.a)
        self.table = nn.Parameter(torch.randn(6, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = F.relu(self.conv(x)).mean((2, 3))
        return self.a(features), self.b(features), self.table


def test_two_heads_are_both_merged_at_their_input() -> None:
    model = convert(Heads(), (3, 16, 16))
    assert conversion_report(model).merge == ("a", "b")
    a, b, table = model(torch.randn(5, 3, 16, 16))
    assert torch.equal(a, b)
    assert a.shape == (5, 2)
    assert table is model.table


class Grouped(nn.Module):
    """Attention over groups of channels, for which the batch is regrouped before any subsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.conv, self.fc = nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(-1, 2, *x.shape[2:])
        x = (groups * self.pool(groups).sigmoid()).reshape(x.shape)
        return self.fc(self.conv(x).mean((2, 3)))


def test_a_regrouped_batch_is_not_taken_for_submaps() -> None:
    model = convert(Grouped(), (4, 16, 16))
    x = torch.randn(3, 4, 16, 16)
    changed = x.clone()
    changed[2] += 1
    assert conversion_report(model).joint == ("mean[0]",)
    assert torch.equal(model(x)[0], model(changed)[0])


def test_stochastic_depth_drops_an_image_in_all_its_submaps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), torchvision.ops.StochasticDepth(0.5, "row"), nn.ReLU())
    maps: list[Tensor] = []
    model[1].register_forward_hook(lambda module, args, out: maps.append(out))
    convert(model, (1, 8, 8))(torch.rand(64, 1, 8, 8))
    dropped = maps[-1].unflatten(0, (2, 64)).abs().sum((2, 3, 4)) == 0
    assert torch.equal(dropped[0], dropped[1])
    assert 15 < int(dropped[0].sum()) < 49


class Outputs(nn.Module):
    """Maps of two levels, and one more in training."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 5, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        a = self.a(x)
        b = self.b(a)
        return {"maps": [x, a, b], "late": b.mean((2, 3))} if self.training else {"maps": [x, a, b]}


def test_every_output_is_merged_with_its_own_submaps() -> None:
    plain = Outputs()
    model = convert(copy.deepcopy(plain), (3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    for training in (False, True):
        got, expected = model.train(training)(x), plain.train(training)(x)
        assert [m.shape for m in got["maps"]] == [m.shape for m in expected["maps"]]
        assert got.keys() == expected.keys()
    assert got["late"].shape == (2, 5)


# --- what cannot be converted --------------------------------------------------------------------------


class Disagreeing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((self.strided(x) + F.interpolate(x, scale_factor=0.5)).mean((2, 3)))


FAILURES = [
    (
        Disagreeing(),
        (3, 16, 16),
        r"nothing to convert.*'?strided'? \(branches of 1 and 2 submaps meet in the model's own forward\)",
    ),
    (nn.Conv2d(3, 4, 3, padding=1), (3, 16, 16), "nothing to convert"),
    (nn.Conv2d(3, 4, 3, stride=(2, 1)), (3, 16, 16), r"nothing to convert.*stride \(2, 1\) differs"),
    (nn.MaxPool2d(2, return_indices=True), (3, 16, 16), "return_indices"),
    (nn.Sequential(CheckeredConv2d(3, 4, 3, 2)), (3, 16, 16), "'0' is a multisampling layer already"),
    (nn.LazyConv2d(4, 3, 2), (3, 16, 16), "lazy layers; run it once"),
    (
        nn.Conv2d(4, 4, 3, stride=2),
        (3, 16, 16),
        r"plain network does not run on images of input_size=\(3, 16, 16\)",
    ),
]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
@pytest.mark.parametrize(("model", "size", "message"), FAILURES, ids=[m for *_, m in FAILURES])
def test_a_failed_conversion_leaves_the_model_untouched(
    model: nn.Module, size: tuple[int, int, int], message: str
) -> None:
    described, types = repr(model), [type(module) for module in model.modules()]
    with pytest.raises(ConversionError, match=message):
        convert(model, size)
    assert repr(model) == described
    assert [type(module) for module in model.modules()] == types
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules() if "Lazy" not in repr(m))
    assert not hasattr(model, "_conversion")


@pytest.mark.parametrize("size", [(32, 32), (3, 0, 32), (3, 32.0, 32), 32])
def test_malformed_input_sizes_are_named(size: Any) -> None:
    with pytest.raises(ValueError, match=r"input_size: expected \(channels, height, width\)"):
        convert(small_resnet(), size)


# --- other people's networks ---------------------------------------------------------------------------

TORCHVISION = [
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "resnet18",
    "resnext50_32x4d",
    "densenet121",
    "squeezenet1_0",
    "squeezenet1_1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "convnext_tiny",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
    "regnet_y_400mf",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("sampling", ["naive", "lattice"])
def test_torchvision_networks_convert_as_they_come(name: str, sampling: str) -> None:
    model = torchvision.models.get_model(name, weights=None, num_classes=11)
    state = list(model.state_dict())
    convert(model, (3, 64, 64), sampling)
    out = model(torch.randn(2, 3, 65, 64))
    out.sum().backward()
    assert out.shape == (2, 11)
    assert out.isfinite().all()
    assert list(model.state_dict()) == state
    assert conversion_report(model).submaps == (16 if "squeezenet" in name else 32)


def test_the_public_names_are_there() -> None:
    assert all(callable(getattr(ccnn, name)) for name in ccnn.__all__)


class EndsInAFunction(nn.Module):
    """As networks for CIFAR are often written: the head's pooling is a function with a fixed window."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.pool, self.classifier = pool, nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.second(self.first(x).relu())).flatten(1))


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(8),
        lambda x: F.avg_pool2d(x, 8),
        lambda x: F.avg_pool2d(x, x.shape[2:]),
        lambda x: x.mean((2, 3)),
    ],
    ids=["module", "function", "size of the map", "mean"],
)
def test_a_pooling_over_its_whole_map_is_the_heads_and_no_subsampling(pool: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = EndsInAFunction(pool)
    usual = copy.deepcopy(model)
    usual.pool = nn.AdaptiveAvgPool2d(1)
    x = torch.randn(2, 3, 32, 32)
    expected = convert(usual, (3, 32, 32))(x)
    torch.testing.assert_close(convert(model, (3, 32, 32))(x), expected)
    assert [layer.name for layer in conversion_report(model).layers] == ["first", "second"]
