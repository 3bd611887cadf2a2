"""Networks that compute the same and write their layers in different ways."""

from collections.abc import Callable
from typing import Any

import timm.layers
import torch
import torchvision
from spellings import Do, Network, Spelling
from torch import Tensor, nn
from torch.nn import functional as F

TIMM: Any = timm.layers


def _spelling(name: str, part: str, make: Callable[[], Any]) -> Spelling:
    """One part of the network; a name that ends in `_` is exotic."""
    return Spelling(name, lambda size: Network(**{part: make()}), name.endswith("_"))


def _middles(**makers: Callable[[], Any]) -> list[Spelling]:
    """Spellings of what happens to the first map, (N, 8, H/2, W/2)."""
    return [_spelling(name, "middle", make) for name, make in makers.items()]


def _seconds(**makers: Callable[[], nn.Module]) -> list[Spelling]:
    """Spellings of the second strided layer."""
    return [_spelling(name, "second", make) for name, make in makers.items()]


def _one(function: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    return lambda: function


class PaddingConv(nn.Conv2d):
    """Pads by itself, then convolves."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias, self.stride)


class StandardizedConv(nn.Conv2d):
    """Standardizes its weights in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, standardized(self.weight), self.bias, self.stride, self.padding)


def standardized(weight: Tensor) -> Tensor:
    centred = weight - weight.mean((1, 2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()


class SamePadding(nn.Conv2d):
    """TensorFlow's padding, computed from the input's size: a pixel below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size in (x.shape[3], x.shape[2]):
            missing = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, self.padding)


def _bare(function: Callable[..., Tensor], *shape: int) -> Callable[[], nn.Module]:
    """A module with a weight and a bias of its own and no layer."""
    return lambda: Do(
        function, weight=nn.Parameter(torch.empty(shape or (16, 8, 3, 3))), bias=nn.Parameter(torch.empty(16))
    )


conv = _seconds(
    module=lambda: nn.Conv2d(8, 16, 3, 2, 1),
    pairs=lambda: nn.Conv2d(8, 16, (3, 3), stride=(2, 2), padding=(1, 1)),
    subclass_that_pads=lambda: PaddingConv(8, 16, 3, 2),
    zero_pad_before=lambda: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(8, 16, 3, 2)),
    function=_bare(lambda self, x: F.conv2d(x, self.weight, self.bias, 2, 1)),
    function_by_keyword=_bare(
        lambda self, x: F.conv2d(input=x, weight=self.weight, bias=self.bias, stride=(2, 2), padding=1)
    ),
    padded_function=_bare(lambda self, x: torch.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias, stride=2)),
    bias_added=_bare(lambda self, x: F.conv2d(x, self.weight, None, 2, 1) + self.bias.view(1, -1, 1, 1)),
)
standard = _seconds(
    subclass=lambda: StandardizedConv(8, 16, 3, 2, 1),
    function=_bare(lambda self, x: F.conv2d(x, standardized(self.weight), self.bias, 2, 1)),
)
same = _seconds(
    subclass=lambda: SamePadding(8, 16, 3, 2),
    timm=lambda: TIMM.Conv2dSame(8, 16, 3, 2),
    pad_module=lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 16, 3, 2)),
    pad_function=_bare(lambda self, x: F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, 2)),
)
reflect = _seconds(
    mode=lambda: nn.Conv2d(8, 16, 3, 2, 1, padding_mode="reflect"),
    module=lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(8, 16, 3, 2)),
    function=_bare(lambda self, x: F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.weight, self.bias, 2)),
)
pointwise = _seconds(
    module=lambda: nn.Conv2d(8, 16, 1, 2),
    function=_bare(lambda self, x: F.conv2d(x, self.weight, self.bias, 2), 16, 8, 1, 1),
    pooled_first=lambda: nn.Sequential(nn.MaxPool2d(1, 2), nn.Conv2d(8, 16, 1)),
)
max_pool = _middles(
    module=lambda: nn.MaxPool2d(2),
    function=_one(lambda x: F.max_pool2d(x, 2)),
    pairs=_one(lambda x: F.max_pool2d(x, (2, 2), (2, 2))),
    by_keyword=_one(lambda x: F.max_pool2d(x, kernel_size=2, stride=2)),
    torch=_one(lambda x: torch.max_pool2d(x, [2, 2])),
    of_a_module=lambda: Do(lambda self, x: F.max_pool2d(x, 2)),
    indices_dropped_=_one(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
)
padded_max_pool = _middles(
    module=lambda: nn.MaxPool2d(3, 2, 1),
    function=_one(lambda x: F.max_pool2d(x, 3, 2, 1)),
    padded=lambda: nn.Sequential(nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)),  # after a ReLU zeros never win
)
avg_pool = _middles(
    module=lambda: nn.AvgPool2d(2),
    function=_one(lambda x: F.avg_pool2d(x, 2)),
    by_keyword=_one(lambda x: F.avg_pool2d(x, kernel_size=(2, 2), stride=2)),
    other=_one(lambda x: torch._C._nn.avg_pool2d(x, 2)),
    depthwise=lambda: Do(lambda self, x: F.conv2d(x, x.new_full((8, 1, 2, 2), 0.25), stride=2, groups=8)),
)
lp_pool = _middles(
    module=lambda: nn.LPPool2d(2, 2),
    function=_one(lambda x: F.lp_pool2d(x, 2, 2)),
)


def _affine(function: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    return lambda: Do(function, weight=nn.Parameter(torch.empty(8)), bias=nn.Parameter(torch.empty(8)))


def _by_hand(self: Any, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, (1, 2, 3), keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt() * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


def _by_means(self: Any, x: Tensor) -> Tensor:
    x = x - x.mean((1, 2, 3), keepdim=True)
    x = x / (x.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
    return x * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


group_norm = _middles(
    module=lambda: nn.GroupNorm(2, 8),
    function=_affine(lambda self, x: F.group_norm(x, 2, self.weight, self.bias)),
    function_by_keyword=_affine(
        lambda self, x: F.group_norm(x, num_groups=2, weight=self.weight, bias=self.bias, eps=1e-5)
    ),
    torch=_affine(lambda self, x: torch.group_norm(x, 2, self.weight, self.bias)),
    flattened=_affine(lambda self, x: F.group_norm(x.flatten(2), 2, self.weight, self.bias).view_as(x)),
    flattened_module=lambda: Do(lambda self, x: self.norm(x.flatten(2)).view_as(x), norm=nn.GroupNorm(2, 8)),
    timm=lambda: TIMM.GroupNorm(8, 2),
)
one_group = _middles(
    module=lambda: nn.GroupNorm(1, 8),
    timm=lambda: TIMM.GroupNorm1(8),
    means_=_affine(_by_means),
    by_hand_=_affine(_by_hand),
    layer_norm_=_affine(
        lambda self, x: F.layer_norm(x, x.shape[1:]) * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
    ),
)
instance_norm = _middles(
    module=lambda: nn.InstanceNorm2d(8, affine=True),
    function=_affine(lambda self, x: F.instance_norm(x, weight=self.weight, bias=self.bias)),
    groups=lambda: nn.GroupNorm(8, 8),
    flattened=lambda: Do(
        lambda self, x: self.norm(x.flatten(2)).view_as(x), norm=nn.InstanceNorm1d(8, affine=True)
    ),
    layer_norm=_affine(
        lambda self, x: F.layer_norm(x, x.shape[2:]) * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
    ),
)


def _attention(function: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    """Squeeze-and-excitation; its function gives (N, 8) or (N, 8, 1, 1)."""

    def forward(self: Any, x: Tensor) -> Tensor:
        n, c, _, _ = x.size()
        scale = self.up(F.relu(self.down(function(x).view(n, c))))
        return x * torch.sigmoid(scale).view(n, c, 1, 1)

    return lambda: Do(forward, down=nn.Linear(8, 4), up=nn.Linear(4, 8))


def _convolving(function: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    def forward(self: Any, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.relu(self.down(function(x)))))

    return lambda: Do(forward, down=nn.Conv2d(8, 4, 1), up=nn.Conv2d(4, 8, 1))


squeeze_and_excitation = _middles(
    torchvision=lambda: torchvision.ops.SqueezeExcitation(8, 4),
    timm=lambda: TIMM.SqueezeExcite(8, rd_channels=4),
    adaptive=_convolving(lambda x: F.adaptive_avg_pool2d(x, 1)),
    mean=_convolving(lambda x: x.mean((2, 3), keepdim=True)),
    stepwise=_convolving(lambda x: x.mean(2, keepdim=True).mean(3, keepdim=True)),
    window=_convolving(lambda x: F.avg_pool2d(x, x.size()[2:])),
    window_with_stride=_convolving(lambda x: F.avg_pool2d(x, (x.size(2), x.size(3)), (x.size(2), x.size(3)))),
    linear=_attention(lambda x: F.adaptive_avg_pool2d(x, 1)),
    linear_mean=_attention(lambda x: x.mean((2, 3))),
    linear_view=_attention(lambda x: x.view(x.size(0), x.size(1), -1).mean(2)),
    linear_sum=_attention(lambda x: x.flatten(2).sum(-1) / (x.size(2) * x.size(3))),
)


def _cbam(average: Callable[..., Tensor], maximum: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    """The channel attention of CBAM, then its spatial one, whose convolution has stride 1."""

    def forward(self: Any, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        scale = self.mlp(average(x).reshape(n, c)) + self.mlp(maximum(x).reshape(n, c))
        x = x * torch.sigmoid(scale)[:, :, None, None]
        compressed = torch.cat((x.max(1)[0].unsqueeze(1), x.mean(1).unsqueeze(1)), 1)
        return x * torch.sigmoid(self.spatial(compressed))

    return lambda: Do(
        forward,
        mlp=nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)),
        spatial=nn.Conv2d(2, 1, 3, padding=1),
    )


cbam = _middles(
    adaptive=_cbam(lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.adaptive_max_pool2d(x, 1)),
    windows=_cbam(
        lambda x: F.avg_pool2d(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3))),
        lambda x: F.max_pool2d(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3))),
    ),
    flattened=_cbam(lambda x: x.flatten(2).mean(2), lambda x: x.flatten(2).max(2)[0]),
    dims=_cbam(lambda x: x.mean((2, 3)), lambda x: x.amax((2, 3))),
)


def _eca(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    def forward(self: Any, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(function(x).unsqueeze(1)))[:, 0, :, None, None]

    return lambda: Do(forward, conv=nn.Conv1d(1, 1, 3, padding=1, bias=False))


channel_attention = _middles(
    adaptive=_eca(lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)),
    mean=_eca(lambda x: x.mean((2, 3))),
    view=_eca(lambda x: x.view(x.shape[0], x.shape[1], -1).mean(-1)),
)


def _coordinates(function: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    """Coordinate attention: means along each side, and one of the whole map, made of one of these."""

    def forward(x: Tensor) -> Tensor:
        for _ in range(2):
            rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
            x = x * torch.sigmoid(rows) * torch.sigmoid(columns) * torch.sigmoid(function(columns))
        return x

    return _one(forward)


coordinate_attention = _middles(
    adaptive=_coordinates(lambda x: F.adaptive_avg_pool2d(x, 1)),
    mean=_coordinates(lambda x: x.mean(3, keepdim=True)),
)


def _response(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """Global response normalisation as in ConvNeXt V2."""

    def forward(self: Any, x: Tensor) -> Tensor:
        response = function(x)
        response = response / (response.mean(1, keepdim=True) + 1e-6)
        return x + x * response * self.weight.view(1, -1, 1, 1)

    return lambda: Do(forward, weight=nn.Parameter(torch.empty(8)))


response_norm = _middles(
    norm=_response(lambda x: x.norm(p=2, dim=(2, 3), keepdim=True)),
    squares=_response(lambda x: x.square().sum((2, 3), keepdim=True).sqrt()),
    flattened=_response(lambda x: x.flatten(2).norm(dim=2)[:, :, None, None]),
)


def _residual(function: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    return lambda: Do(function, one=nn.Conv2d(8, 16, 3, 2, 1), two=nn.Conv2d(8, 16, 1, 2))


residual = _seconds(
    sum=_residual(lambda self, x: self.one(x) + self.two(x)),
    add=_residual(lambda self, x: torch.add(self.one(x), self.two(x))),
    in_place=_residual(lambda self, x: self.one(x).add_(self.two(x))),
    stack=_residual(lambda self, x: torch.stack([self.one(x), self.two(x)]).sum(0)),
    stack_second=_residual(lambda self, x: torch.stack([self.one(x), self.two(x)], 1).sum(1)),
    lerp=_residual(lambda self, x: torch.lerp(self.one(x), self.two(x), 0.5) * 2),
    pooled_branch=_residual(
        lambda self, x: self.one(x) + F.conv2d(F.max_pool2d(x, 1, 2), self.two.weight, self.two.bias)
    ),
)

LAYERS = {
    "conv": conv,
    "standardized": standard,
    "same": same,
    "reflect": reflect,
    "pointwise": pointwise,
    "max_pool": max_pool,
    "padded_max_pool": padded_max_pool,
    "avg_pool": avg_pool,
    "lp_pool": lp_pool,
    "group_norm": group_norm,
    "one_group": one_group,
    "instance_norm": instance_norm,
    "squeeze_and_excitation": squeeze_and_excitation,
    "cbam": cbam,
    "channel_attention": channel_attention,
    "coordinate_attention": coordinate_attention,
    "response_norm": response_norm,
    "residual": residual,
}
