"""What a CCNN is, proven on whole networks: shifted plain networks, the dilated network, export and compile."""

import copy
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from reference import LATTICE, THREE_QUARTERS, TRADITIONAL, Levels, naive, offsets_reference
from torch import Tensor, nn
from torch.nn import functional as F

from ccnn.models.resnet import ResNet
from ccnn.multisampling.conversion import conversion_report, convert
from ccnn.multisampling.samplers import METHODS, Sampling
from ccnn.multisampling.submaps import offsets_of, to_dense

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
COMPLETE = ((0, 0), (1, 0), (0, 1), (1, 1))
# Three samplers that no method has, and a sequence without symmetry; every matrix is read row by row.
CUSTOM = [((0, 1), (1, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 0))]
SEQUENCE = [[2], [1, 0], [0, 2, 1, 1]]


def custom() -> Sampling:
    matrices = [[[int((y, x) in kept) for x in (0, 1)] for y in (0, 1)] for kept in CUSTOM]
    return Sampling("custom", samplers=matrices, sequence=SEQUENCE)


SAMPLINGS: dict[str, tuple[str | Sampling, Levels]] = {
    "traditional": ("traditional", [[TRADITIONAL]] * 3),
    "naive": ("naive", naive(3)),
    "lattice": ("lattice", LATTICE[:3]),
    "three_quarters": ("three_quarters", [[THREE_QUARTERS] * 3**i for i in range(3)]),
    "complete": ("complete", [[COMPLETE] * 4**i for i in range(3)]),
    "custom": (custom(), [[CUSTOM[i] for i in level] for level in SEQUENCE]),
}


def test_every_deterministic_method_is_proven() -> None:
    assert set(SAMPLINGS) | {"random", "stochastic"} == set(METHODS)


# --- small networks of three subsampling steps ---------------------------------------------------------


def small_resnet() -> nn.Module:
    return ResNet([1, 1, 1, 1], bottleneck=False, channels=(8, 10, 12, 12))


def small_densenet() -> nn.Module:
    return torchvision.models.DenseNet(4, (2, 2), 8, bn_size=2)


def small_mobilenet() -> nn.Module:
    blocks = [[1, 8, 1, 1], [2, 8, 2, 2], [1, 8, 1, 2]]
    return torchvision.models.MobileNetV2(inverted_residual_setting=blocks, width_mult=0.25)


# The name of the module that yields the last map, and how far that looks around a sample, in its own pixels.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "resnet": (small_resnet, "stages", 4),
    "densenet": (small_densenet, "features", 4),
    "mobilenet": (small_mobilenet, "features", 3),
}


def in_evaluation(model: nn.Module) -> nn.Module:
    return randomised(model).double().eval()


def last_map(model: nn.Module, name: str, x: Tensor) -> Tensor:
    maps: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, args, out: maps.append(out))
    with torch.no_grad():
        model(x)
    handle.remove()
    return maps[0]


def check_shifts(plain: nn.Module, name: str, margin: int, sampling: str | Sampling, levels: Levels) -> None:
    stride = 2 ** len(levels)
    side = stride * (2 * margin + 2)
    x = torch.randn(1, 3, side, side, dtype=torch.float64)
    converted = convert(copy.deepcopy(plain), (3, side, side), sampling)
    shifted = torch.cat([F.pad(x[:, :, dy:, dx:], (0, dx, 0, dy)) for dy, dx in offsets_reference(levels)])
    got, expected = last_map(converted, name, x), last_map(plain, name, shifted)
    assert got.shape[2:] == (2 * margin + 2, 2 * margin + 2)
    inner = slice(margin, -margin)
    torch.testing.assert_close(got[:, :, inner, inner], expected[:, :, inner, inner], **CLOSE)
    assert expected[:, :, inner, inner].std() > 1e-3  # nothing so flat that shifts do not matter


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("network", NETWORKS)
def test_submaps_are_the_plain_network_on_shifted_images(network: str, sampling: str) -> None:
    torch.manual_seed(0)
    build, name, margin = NETWORKS[network]
    check_shifts(in_evaluation(build()), name, margin, *SAMPLINGS[sampling])


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "levels"), [("naive", naive(5)), ("lattice", LATTICE)])
def test_submaps_of_torchvisions_resnet_are_the_plain_network_on_shifted_images(
    sampling: str, levels: Levels
) -> None:
    torch.manual_seed(0)
    block = torchvision.models.resnet.Bottleneck
    plain = torchvision.models.ResNet(block, [1, 1, 1, 1], width_per_group=4, num_classes=5)
    check_shifts(in_evaluation(plain), "layer4", 4, sampling, levels)


def test_offsets_are_the_references() -> None:
    for sampling, levels in SAMPLINGS.values():
        assert offsets_of(sampling, (2, 2, 2)) == offsets_reference(levels)


# --- complete multisampling is dilation ----------------------------------------------------------------


def dilate(layer: nn.Module, by: int) -> None:
    """Strides replaced by dilation: the layer reads as far as it did, of a map `by` times as fine."""
    assert isinstance(layer, nn.Conv2d | nn.MaxPool2d)
    kernel = layer.kernel_size if isinstance(layer.kernel_size, int) else layer.kernel_size[0]
    stride: Any = 1 if isinstance(layer, nn.MaxPool2d) else (1, 1)
    padding: Any = 0 if isinstance(layer, nn.MaxPool2d) else (by * (kernel // 2),) * 2  # padded separately
    layer.stride, layer.padding, layer.dilation = stride, padding, (by, by) if isinstance(stride, tuple) else by
    if isinstance(layer, nn.Conv2d):
        layer._reversed_padding_repeated_twice = [by * (kernel // 2)] * 4


def strided(layer: nn.Module) -> bool:
    return layer.stride in (2, (2, 2))


def layers(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.MaxPool2d)]


def dilated(model: nn.Module, blocks: list[nn.Module], stem: list[nn.Module], shortcut: str) -> nn.Module:
    """Dilates stem and blocks in the order of the network; within a block its shortcut starts as it does."""
    by = 1
    for layer in stem:
        factor = 2 if strided(layer) else 1
        dilate(layer, by)
        by *= factor
    for block in blocks:
        now = by
        bypass = layers(getattr(block, shortcut)) if getattr(block, shortcut) is not None else []
        for layer in [layer for layer in layers(block) if layer not in bypass]:
            factor = 2 if strided(layer) else 1
            dilate(layer, now)
            now *= factor
        for layer in bypass:
            dilate(layer, by)
        by = now
    return model


def check_dilation(plain: nn.Module, dilated: nn.Module, name: str, side: int, levels: int) -> None:
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    expected = last_map(dilated, name, x)
    converted = convert(plain, (3, side, side), "complete")
    submaps = last_map(converted, name, x)
    assert submaps.shape[0] == 2 * 4**levels
    dense = to_dense(submaps, offsets_reference([[COMPLETE] * 4**i for i in range(levels)]), 2**levels)
    assert dense.shape[-2:] == (side, side)
    torch.testing.assert_close(dense, expected, **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(converted(x), dilated(x), **CLOSE)


def test_complete_is_the_dilated_network() -> None:
    torch.manual_seed(0)
    plain: Any = in_evaluation(ResNet([1, 2, 1, 1], bottleneck=True, channels=(8, 10, 12, 12), expansion=2))
    fine = copy.deepcopy(plain)
    blocks = [block for stage in fine.stages for block in stage]
    check_dilation(plain, dilated(fine, blocks, layers(fine.stem), "shortcut"), "stages", 24, 3)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_complete_is_the_dilated_network_for_torchvisions_resnets(block: str) -> None:
    torch.manual_seed(0)
    kind = getattr(torchvision.models.resnet, block)
    width = 4 if block == "Bottleneck" else 64
    plain: Any = in_evaluation(torchvision.models.ResNet(kind, [1, 1, 1, 1], width_per_group=width, num_classes=5))
    fine = copy.deepcopy(plain)
    blocks = [part for stage in (fine.layer1, fine.layer2, fine.layer3, fine.layer4) for part in stage]
    stem = [fine.conv1, fine.maxpool]
    # PyTorch's own pooling cannot pad as far as a dilated window reaches.
    fine.maxpool = nn.Sequential(nn.ConstantPad2d(2, -torch.inf), stem[1])
    check_dilation(plain, dilated(fine, blocks, stem, "downsample"), "layer4", 32, 5)


class Excitation(nn.Module):
    """Squeeze-and-excitation whose squeeze is a function."""

    def __init__(self, squeeze: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.squeeze, self.fc = squeeze, nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(self.squeeze(x).view(-1, 8, 1, 1)))


MIXING: dict[str, Callable[[], nn.Module]] = {
    "group norm": lambda: nn.GroupNorm(2, 8),
    "instance norm": lambda: nn.InstanceNorm2d(8, affine=True),
    "mean": lambda: Excitation(lambda x: x.mean((2, 3), keepdim=True)),
    "mean of other axes": lambda: Excitation(lambda x: torch.mean(x, dim=[-1, -2])),
    "amax": lambda: Excitation(lambda x: x.amax((2, 3))),
    "adaptive_avg_pool2d": lambda: Excitation(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "adaptive_max_pool2d": lambda: Excitation(lambda x: F.adaptive_max_pool2d(x, (1, 1))),
    "AdaptiveAvgPool2d": lambda: Excitation(nn.AdaptiveAvgPool2d(1)),
    "AdaptiveMaxPool2d": lambda: Excitation(nn.AdaptiveMaxPool2d(1)),
}


@pytest.mark.parametrize("kind", MIXING)
def test_complete_is_the_dilated_network_where_layers_mix_a_whole_map(kind: str) -> None:
    """Such a layer must see all submaps at once, or it would not do what it does to the dilated network's map."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), MIXING[kind](), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), MIXING[kind]()
    )
    plain = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double()
    fine = copy.deepcopy(plain)
    body_of_fine: Any = fine[0]
    dilated(fine, [], [layer for layer in layers(body_of_fine) if strided(layer)], "")
    check_dilation(plain, fine, "0", 16, 2)
    assert len(conversion_report(plain).joint) == 3


# --- export and compile --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["naive", "lattice"])
def resnet18(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = convert(torchvision.models.resnet18(weights=None, num_classes=7), (3, 64, 64), request.param).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        return model, x, model(x)


@pytest.mark.slow
def test_torch_export_computes_the_same(resnet18: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, expected = resnet18
    exported = torch.export.export(model, (x,))
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the exporter's own
def test_onnx_computes_the_same(resnet18: tuple[nn.Module, Tensor, Tensor]) -> None:
    import onnxruntime

    model, x, expected = resnet18
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), expected, rtol=1e-4, atol=1e-4)


COMPILED = {**{name: sampling for name, (sampling, _) in SAMPLINGS.items()}, "random": "random"} | {
    "stochastic": "stochastic"
}


@pytest.mark.slow
@pytest.mark.parametrize("sampling", COMPILED)
def test_torch_compile_computes_the_same(sampling: str) -> None:
    torch._dynamo.reset()
    model = convert(small_resnet(), (3, 16, 16), COMPILED[sampling]).eval()
    x = torch.randn(2, 3, 16, 16)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", COMPILED)
def test_torch_compile_trains_the_same(sampling: str) -> None:
    torch._dynamo.reset()
    model = convert(small_resnet(), (3, 16, 16), COMPILED[sampling]).train()
    eager = copy.deepcopy(model)
    x = torch.randn(4, 3, 16, 16)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    if sampling in ("random", "stochastic"):
        with pytest.raises(torch._dynamo.exc.Unsupported, match="draw new samplers in every training step"):
            compiled(x)
        return
    for network in (eager, compiled):
        network(x).square().sum().backward()
    for got, expected in zip(model.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-4, atol=1e-4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, eager.state_dict()[name])


# --- no dependency but torch ---------------------------------------------------------------------------


def torchs_own() -> set[str]:
    """What torch says it needs, by distribution name, and what that needs in turn."""
    found, waiting = set(), ["torch"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            try:
                needs = requires(name) or []
            except PackageNotFoundError:
                continue
            waiting += [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need]
    return found


def others() -> list[str]:
    """All that is installed and can be imported, but for torch and its needs."""
    own = torchs_own() | {"ccnn", "setuptools"}
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in own}
    return [
        module
        for module, sources in packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", source).lower() in normal for source in sources)
    ]


def test_the_method_needs_nothing_but_torch() -> None:
    program = f"""
        import importlib, sys

        sys.modules.update(dict.fromkeys({others()!r}))  # None there makes an import fail
        for module in ("samplers", "convolution", "pooling", "joint", "draws", "conversion", "dilation"):
            importlib.import_module("ccnn.multisampling." + module)
        import torch, ccnn
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Flatten(), torch.nn.Linear(256, 2))
        print(*ccnn.convert(model, (3, 16, 16), "lattice")(torch.zeros(5, 3, 16, 16)).shape)
        try:
            import rich
        except ImportError:
            print("blocked")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["5", "2", "blocked"], done.stderr


def test_the_reports_layers_agree_with_the_offsets() -> None:
    report = conversion_report(convert(small_resnet(), (3, 16, 16), "three_quarters"))
    assert report.submaps == len(offsets_of("three_quarters", (2, 2, 2))) == 27
