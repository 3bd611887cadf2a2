"""to_dense() against loops over all places and samples, and the example of docs/segmentation.md."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import retinanet_resnet50_fpn
from torchvision.models.segmentation import fcn_resnet50

import ccnn
from ccnn.multisampling.samplers import Position, Sampling
from ccnn.multisampling.submaps import offsets_of, to_dense

DOCUMENT = Path(__file__).parents[2] / "docs" / "segmentation.md"
METHODS = ["traditional", "naive", "lattice", "three_quarters", "complete"]


def submaps_of(dense: Tensor, offsets: list[Position], stride: int) -> Tensor:
    return torch.cat([dense[:, :, dy::stride, dx::stride] for dy, dx in offsets])


def brute_force(x: Tensor, offsets: list[Position], stride: int, fill: str) -> Tensor:
    """One place after another, from all samples of the map."""
    maps = x.unflatten(0, (len(offsets), -1))
    _, images, channels, h, w = maps.shape
    samples = {
        (i * stride + dy, j * stride + dx): maps[s, :, :, i, j]
        for s, (dy, dx) in enumerate(offsets)
        for i in range(h)
        for j in range(w)
    }
    dense = torch.zeros(images, channels, h * stride, w * stride, dtype=x.dtype)
    radius = math.sqrt(2) * stride
    for y in range(h * stride):
        for x_ in range(w * stride):
            if (y, x_) in samples:
                dense[:, :, y, x_] = samples[y, x_]
            elif fill == "interpolate":
                distances = {place: math.dist(place, (y, x_)) for place in samples}
                weights = {p: (1 / d - 1 / radius) ** 2 for p, d in distances.items() if d < radius}
                total = sum((weights[p] * samples[p] for p in weights), torch.zeros(images, channels))
                dense[:, :, y, x_] = total / sum(weights.values())
    return dense


@pytest.mark.parametrize("fill", ["interpolate", "zeros"])
@pytest.mark.parametrize("strides", [(2,), (2, 2), (4,)])
@pytest.mark.parametrize("name", METHODS)
def test_is_what_loops_over_all_places_give(name: str, strides: tuple[int, ...], fill: Any) -> None:
    offsets, stride = offsets_of(name, strides), math.prod(strides)
    x = torch.randn(len(offsets) * 2, 3, 3, 2, dtype=torch.float64)
    expected = brute_force(x, offsets, stride, fill)
    torch.testing.assert_close(to_dense(x, offsets, stride, fill=fill), expected, rtol=1e-12, atol=1e-12)
    cropped = to_dense(x, offsets, stride, (2 * stride + 1, 2 * stride - 1), fill)
    torch.testing.assert_close(cropped, expected[:, :, : 2 * stride + 1, : 2 * stride - 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strides", [(2, 2, 2), (3,), (2, 3)])
def test_complete_loses_nothing(strides: tuple[int, ...]) -> None:
    stride = math.prod(strides)
    image = torch.randn(2, 3, 4 * stride, 3 * stride)
    offsets = offsets_of("complete", strides)
    assert torch.equal(to_dense(submaps_of(image, offsets, stride), offsets, stride), image)


@pytest.mark.parametrize("name", METHODS)
def test_samples_stay_and_a_constant_stays_constant(name: str) -> None:
    offsets = offsets_of(name, (2, 2, 2))
    x = torch.randn(len(offsets) * 2, 3, 4, 5)
    assert torch.equal(submaps_of(to_dense(x, offsets, 8), offsets, 8), x)
    constant = to_dense(torch.full_like(x, 1.5), offsets, 8)
    torch.testing.assert_close(constant, torch.full((2, 3, 32, 40), 1.5))


def test_more_samples_tell_more() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (torch.sin(y / 5) + torch.cos((x + y) / 7))[None, None]

    def error(name: str) -> float:
        offsets = offsets_of(name, (2, 2, 2))
        return (to_dense(submaps_of(image, offsets, 8), offsets, 8) - image).abs().mean().item()

    assert error("complete") == 0 < error("three_quarters") < error("lattice") < error("naive")
    assert error("naive") < error("traditional")


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_right(name: str) -> None:
    offsets = offsets_of(name, (2, 2))
    x = torch.randn(len(offsets), 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: to_dense(x, offsets, 4, (7, 8)), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([(0, 0), (0, 2)], 2), r"offsets: expected different places within 0 to 1, got \[\(0, 0\), \(0, 2\)\]"),
        (([(0, 1), (0, 1)], 2), "offsets: expected different places"),
        (([(0, 0), (1, 1)], 2, (9, 8)), r"size: submaps of 4×4 at stride 2 reach 8×8, got \(9, 8\)"),
        (([(0, 0), (1, 1)], 2, None, "nearest"), "fill: expected 'interpolate' or 'zeros', got 'nearest'"),
        (([(0, 0), (1, 1), (0, 1)], 2), "a batch of 4 cannot hold 3 submaps"),
    ],
)
def test_mistakes_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_dense(torch.zeros(4, 1, 4, 4), *arguments)


def test_a_converted_layer_knows_its_strides() -> None:
    layer = torch.nn.Conv2d(1, 1, 3, 2, 1)
    model = ccnn.convert(torch.nn.Sequential(torch.nn.MaxPool2d(2), layer), (1, 16, 16), "lattice")
    path: Any = model[1].placement.path  # type: ignore[union-attr]
    assert offsets_of("lattice", path) == offsets_of(Sampling("lattice"), (2, 2))


@pytest.mark.slow
def test_the_documents_code_converts_a_segmentation_network() -> None:
    torch.manual_seed(0)
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    scope: dict[str, Any] = {"__name__": "segmentation"}
    exec(compile(code, str(DOCUMENT), "exec"), scope)
    model = scope["model"]
    plain = fcn_resnet50(weights=None, weights_backbone=None, num_classes=5)
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    seen: list[Tensor] = []
    images = torch.randn(2, 3, 32, 40)
    for network in (plain.eval(), model.eval()):
        network.classifier.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        network.backbone.layer4[2].register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        plain(images)
        out = model(images)["out"]
    (_, coarse, submaps, dense) = seen
    assert out.shape == (2, 5, 32, 40)
    assert out.isfinite().all()
    # The head sees the plain network's features at their places, and others between them.
    assert (coarse.shape, submaps.shape, dense.shape) == ((2, 2048, 4, 5), (16, 2048, 4, 5), (2, 2048, 32, 40))
    torch.testing.assert_close(dense[:, :, ::8, ::8], coarse, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense, to_dense(submaps, offsets_of("lattice", (2, 2, 2)), 8))


def test_each_level_of_a_detectors_backbone_comes_back_merged() -> None:
    detector = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3).eval()
    images = [torch.rand(3, 64, 64)]
    with torch.no_grad():
        plain = detector.backbone.body(torch.stack(images))
        ccnn.convert(detector.backbone.body, (3, 64, 64), "lattice")
        levels = detector.backbone.body(torch.stack(images))
    assert [level.shape for level in levels.values()] == [level.shape for level in plain.values()]
    assert ccnn.conversion_report(detector.backbone.body).submaps == 32
    assert not torch.allclose(levels["2"], plain["2"])
