"""dilate() refuses what would not compute the same as complete multisampling, and names it."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ccnn


class Functional(nn.Module):
    """A strided convolution, then a function of its map."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x)).mean((2, 3))


class OwnForward(nn.Conv2d):
    """Not what nn.Conv2d computes."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _shared() -> nn.Module:
    pool = nn.MaxPool2d(2)
    return nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.Conv2d(4, 4, 3), pool)


class Attention(nn.Module):
    """Self-attention between the pixels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


class WithAuxiliary(nn.Module):
    """Has a second output in training, as GoogLeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.auxiliary = nn.Sequential(nn.Softmax(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Any:
        x = self.conv(x)
        return (x.mean((2, 3)), self.auxiliary(x)) if self.training else x.mean((2, 3))


STEM = nn.Conv2d(3, 4, 3, 2, 1)
OWN = "the model's own forward cannot be dilated: the network's output would differ"
REFUSED: dict[str, tuple[nn.Module, str]] = {
    "padding": (
        nn.Sequential(STEM, nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        "'1' cannot be dilated: padding_mode='reflect'; only 'zeros' can be dilated",
    ),
    "unequal": (nn.Sequential(STEM, nn.MaxPool2d((1, 2))), "'1' cannot be dilated: stride (1, 2) differs"),
    "lp": (nn.Sequential(STEM, nn.LPPool2d(2, 2)), "'1' cannot be dilated: the network's output would differ"),
    "lp, stride 1": (nn.Sequential(STEM, nn.LPPool2d(2, 3, 1)), "'1' cannot be dilated: the network's output"),
    "own": (
        nn.Sequential(STEM, OwnForward(4, 4, 3)),
        "'1' cannot be dilated: OwnForward has a forward of its own",
    ),
    "pool": (Functional(lambda x: F.max_pool2d(x, 2)), "'max_pool2d[0]' is a functional call"),
    "slide": (Functional(lambda x: F.avg_pool2d(x, 3, 1)), OWN),
    "slide in three dimensions": (Functional(lambda x: F.avg_pool3d(x.unsqueeze(1), (1, 3, 3), 1)[:, 0]), OWN),
    "crop": (Functional(lambda x: x[:, :, 1:, :]), OWN),
    "roll": (Functional(lambda x: torch.roll(x, 1, 3) * x), OWN),
    "flip": (Functional(lambda x: x * x.flip(2)), OWN),
    "transposition": (Functional(lambda x: x * x.transpose(2, 3)), OWN),
    "sum so far": (Functional(lambda x: x.cumsum(2)), OWN),
    "difference": (Functional(lambda x: x.diff(dim=3)), OWN),
    "softmax": (Functional(lambda x: x * x.flatten(2).softmax(-1).view_as(x)), OWN),
    "attention": (
        nn.Sequential(STEM, Attention(), nn.AdaptiveAvgPool2d(1)),
        "'1' cannot be dilated: the network's",
    ),
    "upsample": (
        nn.Sequential(STEM, nn.Upsample(scale_factor=2, mode="bilinear")),
        "cannot be compared with complete multisampling: output 0 is a map on a finer grid",
    ),
    "transposed": (
        nn.Sequential(STEM, nn.ConvTranspose2d(4, 4, 2, 2)),
        "cannot be compared with complete multisampling: output 0 is a map on a finer grid",
    ),
    "shuffle": (nn.Sequential(STEM, nn.PixelUnshuffle(2)), "'1' cannot be dilated: the network's output"),
    "pad": (nn.Sequential(STEM, nn.ZeroPad2d(1)), "'1' cannot be dilated: the network's output would differ"),
    "shared": (_shared(), "'1' is called with spacings 1 and 2; give each call its own module"),
    "flat": (
        nn.Sequential(STEM, nn.Flatten(), nn.Linear(4 * 8 * 8, 2)),
        "the dilated network fails: '2' does not run on images of 16×16: RuntimeError",
    ),
    "middle": (
        nn.Sequential(STEM, nn.AdaptiveAvgPool2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        "the dilated network fails: '3' does not run on images of",
    ),
    "only in training": (
        WithAuxiliary(),
        "'auxiliary.0' cannot be dilated: the network's output would differ",
    ),
    "nothing": (nn.Sequential(nn.Conv2d(3, 4, 3)), "nothing to convert"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_layer_and_leave_the_model(case: str) -> None:
    model, message = REFUSED[case]
    model = copy.deepcopy(model)
    described = repr(model)
    with pytest.raises(ccnn.ConversionError, match=f"^dilate: .*{re.escape(message)}"):
        ccnn.dilate(model, (3, 16, 16))
    assert repr(model) == described


def test_a_functional_group_norm_agrees_or_is_refused() -> None:
    model = Functional(lambda x: F.group_norm(x, 2)).double()
    try:
        dilated = ccnn.dilate(copy.deepcopy(model), (3, 16, 16))
    except ccnn.ConversionError as error:
        assert OWN in str(error)  # noqa: PT017
    else:
        x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
        complete = ccnn.convert(model, (3, 16, 16), "complete")
        torch.testing.assert_close(dilated(x), complete(x), rtol=1e-9, atol=1e-9)
