"""Laws 2 to 4 of conversion: what cannot be merged, aligned or followed is right, refused, or in the report."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_networks import sampled
from spellings import Do, Network, filled
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ccnn

SIZE = (16, 24)
CLOSE: Any = {"rtol": 1e-9, "atol": 1e-9}


def converted(model: nn.Module, sampling: str | ccnn.Sampling = "lattice") -> nn.Module | None:
    """The converted network; None if conversion refuses it."""
    try:
        return ccnn.convert(filled(model), (3, *SIZE), sampling)
    except ccnn.ConversionError:
        return None


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def down(stride: int = 2, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(3, 3, kernel, stride, kernel // 2)


# ------------------------------------------------------------- branches that meet


def _same_weights(model: Any) -> nn.Module:
    """Gives both branches of a network the same values."""
    filled(model)
    model.b.load_state_dict(model.a.state_dict())
    return model


@pytest.mark.parametrize(
    "skip",
    [
        ("a.1", "b.0"),
        ("a.0", "b.1"),
        ("a.0", "b.0"),
        (),
    ],
)
@pytest.mark.parametrize("sampling", ["naive", "lattice", "complete"])
def test_branches_that_meet_are_aligned(sampling: str, skip: tuple[str, ...]) -> None:
    """Equal branches have no difference, whichever of their layers is converted."""
    model = Do(lambda self, x: (self.a(x) - self.b(x)).square().mean((2, 3)),
               a=nn.Sequential(down(), down()), b=nn.Sequential(down(), down()))  # fmt: skip
    _same_weights(model)
    try:
        ccnn.convert(model, (3, *SIZE), ccnn.Sampling(sampling, skip=skip))
    except ccnn.ConversionError:
        return
    assert model(images()).abs().max() < 1e-12


@pytest.mark.parametrize("sampling", ["naive", "lattice", "three_quarters", "complete"])
def test_a_stride_of_four_meets_two_of_two(sampling: str) -> None:
    """Poolings that pick one pixel: one of stride 4, or two of stride 2."""
    model = Do(
        lambda self, x: (self.a(x) - self.b(x)).square().mean((2, 3)),
        a=nn.MaxPool2d(1, 4), b=nn.Sequential(nn.MaxPool2d(1, 2), nn.MaxPool2d(1, 2)),
    )  # fmt: skip
    network = converted(model, sampling)
    assert network is None or network(images()).abs().max() < 1e-12


# ------------------------------------------------------------- rows that are not images


def _steps(self: Any, x: Tensor) -> Tensor:
    """A row for each column of the last map, as text recognition has it."""
    rows = F.relu(self.conv(x)).mean(2).permute(2, 0, 1)
    steps, images, channels = rows.shape
    return self.fc(rows.reshape(-1, channels)).view(steps, images, -1)


def _tokens(self: Any, x: Tensor) -> Tensor:
    return F.relu(self.conv(x)).flatten(2).permute(2, 0, 1)


def _joint_map(model: Any, x: Tensor) -> Tensor:
    """The mean of the submaps that the lattice makes of the first layer, by the 5-D reference."""
    return F.relu(sampled(model.conv, x.unsqueeze(2))).mean(2)


def test_rows_of_time_steps_are_right_or_refused() -> None:
    model = Do(_steps, conv=down(), fc=nn.Linear(3, 5))
    network = converted(model)
    if network is not None:
        mean = _joint_map(network, images()).mean(2).permute(2, 0, 1)
        torch.testing.assert_close(network(images()), network.fc(mean), **CLOSE)  # type: ignore[operator]


def test_outputs_with_the_batch_elsewhere_are_right_or_refused() -> None:
    network = converted(Do(_tokens, conv=down()))
    if network is not None:
        expected = _joint_map(network, images()).flatten(2).permute(2, 0, 1)
        torch.testing.assert_close(network(images()), expected, **CLOSE)


def _regrouped(self: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return F.group_norm(x.reshape(n * 2, c // 2, h, w), 1).reshape(n, c, h, w)


def test_a_norm_on_a_regrouped_batch_is_right_or_refused() -> None:
    network = converted(Network(middle=Do(_regrouped)))
    expected = converted(Network(middle=nn.GroupNorm(2, 8, affine=False)))
    if network is not None:
        assert expected is not None
        torch.testing.assert_close(network(images()), expected(images()), **CLOSE)


EXCHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "chunk": lambda x: torch.cat(x.chunk(2)[::-1]),
    "half": lambda x: torch.cat([x[x.shape[0] // 2 :], x[: x.shape[0] // 2]]),
    "roll": lambda x: x.roll(2, 0),
    "slice": lambda x: torch.cat([x[2:], x[:2]]),
}


@pytest.mark.parametrize("name", ["chunk", "half", "roll", "slice"])
def test_a_forward_that_exchanges_images_is_right_or_refused(name: str) -> None:
    """Each of them exchanges the first two of four images with the last two."""
    network, expected = converted(Network(middle=EXCHANGES[name])), converted(Network())
    if network is not None:
        assert expected is not None
        torch.testing.assert_close(network(images()), expected(images()).roll(2, 0), **CLOSE)


# ------------------------------------------------------------- outputs


def test_integer_outputs_are_right_or_refused() -> None:
    network = converted(Network(head=Do(lambda self, x: self.fc(x).argmax(1), fc=nn.Linear(16, 5))))
    expected = converted(Network(head=Do(lambda self, x: self.fc(x), fc=nn.Linear(16, 5))))
    if network is not None:
        assert expected is not None
        assert torch.equal(network(images()), expected(images()).argmax(1))


def test_displaced_dense_outputs_are_refused_or_said() -> None:
    model = nn.Sequential(down(kernel=1), nn.Upsample(scale_factor=2))
    try:
        network = ccnn.convert(filled(model), (3, *SIZE), "complete")
    except ccnn.ConversionError as error:
        assert "ToDense" in str(error)  # noqa: PT017
    else:
        assert "ToDense" in str(ccnn.conversion_report(network))


# ------------------------------------------------------------- checkpoints and what is not understood


def _recomputed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda self, x: checkpoint(function, self, x, use_reentrant=False)


PARTS: dict[str, Callable[..., Tensor]] = {
    "head": lambda self, x: self.fc(torch.tanh(x.mean((2, 3)))),
    "pooling": lambda self, x: self.fc(torch.tanh(F.max_pool2d(x, 2).mean((2, 3)))),
}


@pytest.mark.parametrize("part", ["head", "pooling"])
def test_recomputed_parts_have_the_gradients_of_the_others_or_are_refused(part: str) -> None:
    gradients = []
    for function in (PARTS[part], _recomputed(PARTS[part])):
        model = Do(lambda self, x, f=function: f(self, F.relu(self.conv(x))), conv=down(), fc=nn.Linear(3, 5))
        network = converted(model)
        if network is None:
            return
        network.train()(images()).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients, **CLOSE)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "std": lambda x: x.std((2, 3)),
    "median": lambda x: x.flatten(2).median(-1).values,
    "topk": lambda x: x.flatten(2).topk(2, -1).values.sum(-1),
    "softmax": lambda x: (x.flatten(2) * x.flatten(2).softmax(-1)).sum(-1),
    "logsumexp": lambda x: x.logsumexp((2, 3)),
    "prod": lambda x: x.flatten(2).prod(-1),
    "normalize": lambda x: F.normalize(x.flatten(2), dim=-1).amax(-1),
    "layer_norm": lambda x: F.layer_norm(x.flatten(1), (x[0].numel(),)).view_as(x).square().mean((2, 3)),
    "fft": lambda x: torch.fft.fft2(x).abs().amax((2, 3)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_joint_or_refused_or_said(name: str) -> None:
    model = Do(
        lambda self, x: self.fc(torch.tanh(REDUCTIONS[name](F.relu(self.conv(x)) + 1))),
        conv=down(),
        fc=nn.Linear(3, 5),
    )
    network = converted(model)
    if network is None or name in str(ccnn.conversion_report(network)):
        return
    conv: Any = network.conv
    maps = F.relu(sampled(conv, images().unsqueeze(2))) + 1
    rows = REDUCTIONS[name](maps.flatten(2, 3))  # all submaps as one map
    torch.testing.assert_close(network(images()), network.fc(torch.tanh(rows)), **CLOSE)  # type: ignore[operator]


SUBSAMPLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "slice": lambda x: x[:, :, ::2, ::2],
    "interpolate": lambda x: F.interpolate(x, scale_factor=0.5),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2)[:, ::4],
    "space to depth": lambda x: x.unflatten(3, (-1, 2))[..., 0].unflatten(2, (-1, 2))[:, :, :, 0],
}


@pytest.mark.parametrize("name", ["slice", "interpolate", "pixel_unshuffle", "space to depth"])
def test_other_subsampling_is_converted_or_refused_or_said(name: str) -> None:
    """Each of them keeps the first pixel of each window, as a 1×1 pooling does."""
    network, expected = (
        converted(Network(middle=SUBSAMPLINGS[name])),
        converted(Network(middle=nn.MaxPool2d(1, 2))),
    )
    if network is not None and "left traditional" not in str(ccnn.conversion_report(network)):
        assert expected is not None
        torch.testing.assert_close(network(images()), expected(images()), **CLOSE)
