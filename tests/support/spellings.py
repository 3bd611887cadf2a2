"""Networks that compute the same and reduce whole maps in different spellings.

Every network is `down → middle → down → reduce → tanh → fc` on 16×16 or 16×24 images; one part varies. The tanh
tells a mean over submaps from a reduction of all of them. Nothing of the package is imported here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]
Function = Callable[[Tensor], Tensor]
MEAN: Function = lambda x: x.mean((2, 3))  # noqa: E731


class Network(nn.Module):
    """Two strided convolutions around a middle, a reduction of the whole map, and a classifier.

    Args:
        size: of the images; the last map is a quarter of it.
        middle: what happens to the first map, (N, 8, H/2, W/2).
        second: the second strided layer, 8 → 16 channels.
        reduce: turns the last map into rows of 16 values.
        head: the classifier.
    """

    def __init__(
        self,
        middle: nn.Module | Function | None = None,
        second: nn.Module | None = None,
        reduce: nn.Module | Function = MEAN,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.middle = middle
        self.second = second or nn.Conv2d(8, 16, 3, 2, 1)
        self.reduce = reduce
        self.fc = head or nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        if self.middle is not None:
            x = self.middle(x)
        x = F.relu(self.second(x) + 0.3)
        return self.fc(torch.tanh(self.reduce(x)))


class Do(nn.Module):
    """A module whose own forward is a function of its input and its parts."""

    def __init__(self, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@dataclass(frozen=True)
class Spelling:
    """One way to write a network.

    Attributes:
        name: what is special about it.
        build: the network for images of a size.
        exotic: whether conversion may refuse it where it takes the kind's first spelling.
    """

    name: str
    build: Callable[[Size], nn.Module]
    exotic: bool = False


def _reduction(name: str, make: Callable[[Size], Any]) -> Spelling:
    """One reduction, made for the size of the last map; a name that ends in `_` is exotic."""
    return Spelling(name, lambda size: Network(reduce=make((size[0] // 4, size[1] // 4))), name.endswith("_"))


def _reductions(**makers: Callable[[Size], Any]) -> list[Spelling]:
    """Spellings of the last reduction."""
    return [_reduction(name, make) for name, make in makers.items()]


def _flat(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Flatten())


def _function(function: Function) -> Callable[[Size], Function]:
    return lambda size: function


mean = _reductions(
    module=lambda size: _flat(nn.AdaptiveAvgPool2d(1)),
    function=_function(lambda x: F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)),
    window_module=lambda size: _flat(nn.AvgPool2d(size)),
    window_of_stride_1=lambda size: _flat(nn.AvgPool2d(size, stride=1)),
    window_function=_function(lambda x: F.avg_pool2d(x, x.shape[2:]).flatten(1)),
    window_with_stride=_function(
        lambda x: F.avg_pool2d(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3))).view(x.size(0), -1)
    ),
    mean=_function(lambda x: x.mean((2, 3))),
    mean_from_the_end=_function(lambda x: x.mean([-1, -2])),
    mean_function=_function(lambda x: torch.mean(x, dim=(2, 3), keepdim=True).flatten(1)),
    columns_then_rows=_function(lambda x: x.mean(3).mean(2)),
    rows_then_columns=_function(lambda x: x.mean(2).mean(2)),
    keepdim_twice=_function(lambda x: x.mean(2, keepdim=True).mean(3, keepdim=True).flatten(1)),
    flatten_mean=_function(lambda x: x.flatten(2).mean(-1)),
    flatten_module=lambda size: nn.Sequential(nn.Flatten(2), Do(lambda self, x: x.mean(2))),
    view_mean=_function(lambda x: x.view(x.size(0), x.size(1), -1).mean(2)),
    reshape_mean=_function(lambda x: torch.mean(x.reshape(x.shape[0], x.shape[1], -1), -1)),
    sum_over_number=_function(lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3])),
    stepwise_sum=_function(lambda x: x.sum(3).sum(2) / (x.shape[2] * x.shape[3])),
    pool_1d=lambda size: nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()),
    einsum_=_function(lambda x: torch.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3])),
    matmul_=_function(lambda x: (x.flatten(2) @ x.new_ones(x.shape[2] * x.shape[3])) / (x.shape[2] * x.shape[3])),
    channels_last=_function(lambda x: x.permute(0, 2, 3, 1).mean((1, 2))),
    tokens=_function(lambda x: x.flatten(2).transpose(1, 2).mean(1)),
    tokens_by_property=_function(lambda x: x.flatten(2).mT.mean(1)),
    tokens_adjoint=_function(lambda x: x.flatten(2).adjoint().mean(1)),
)
maximum = _reductions(
    module=lambda size: _flat(nn.AdaptiveMaxPool2d(1)),
    function=_function(lambda x: F.adaptive_max_pool2d(x, 1).flatten(1)),
    window_module=lambda size: _flat(nn.MaxPool2d(size)),
    window_function=_function(lambda x: F.max_pool2d(x, x.shape[2:]).flatten(1)),
    window_by_keyword=_function(lambda x: F.max_pool2d(x, kernel_size=x.shape[2:], stride=1).flatten(1)),
    amax=_function(lambda x: x.amax((2, 3))),
    amax_function=_function(lambda x: torch.amax(x, (-2, -1), keepdim=True).flatten(1)),
    stepwise=_function(lambda x: x.amax(3).amax(2)),
    stepwise_max=_function(lambda x: x.max(3).values.max(2)[0]),
    flatten_max=_function(lambda x: x.flatten(2).max(-1).values),
    flatten_max_function=_function(lambda x: torch.max(x.flatten(2), 2)[0]),
    flatten_amax=_function(lambda x: x.flatten(2).amax(2)),
    negative_minimum_=_function(lambda x: -(-x).amin((2, 3))),
)
deviation = _reductions(
    std=_function(lambda x: x.std((2, 3))),
    flatten_std=_function(lambda x: x.flatten(2).std(-1)),
    var=_function(lambda x: x.var((2, 3)).sqrt()),
    var_mean_=_function(lambda x: torch.var_mean(x, (2, 3))[0].sqrt()),
)
norm = _reductions(
    vector_norm=_function(lambda x: torch.linalg.vector_norm(x, dim=(2, 3))),
    norm=_function(lambda x: x.norm(p=2, dim=(2, 3))),
    flatten_norm=_function(lambda x: x.flatten(2).norm(dim=-1)),
    squares=_function(lambda x: x.square().sum((2, 3)).sqrt()),
)
logsumexp = _reductions(
    dims=_function(lambda x: x.logsumexp((2, 3))),
    flatten=_function(lambda x: torch.logsumexp(x.flatten(2), -1)),
    exp_sum=_function(lambda x: x.exp().sum((2, 3)).log()),
)
gem = _reductions(
    function=_function(lambda x: F.adaptive_avg_pool2d(x.clamp(min=1e-6).pow(3), 1).pow(1 / 3).flatten(1)),
    window=_function(
        lambda x: F.avg_pool2d(x.clamp(min=1e-6).pow(3), (x.size(-2), x.size(-1))).pow(1.0 / 3).flatten(1)
    ),
    mean=_function(lambda x: x.clamp(min=1e-6).pow(3).mean((-2, -1)).pow(1 / 3)),
    flatten=_function(lambda x: x.clamp(min=1e-6).pow(3).flatten(2).mean(-1).pow(1 / 3)),
)


def _rows(
    function: Callable[[Tensor, int], Tensor], read: Callable[[Tensor], int] = lambda x: x.size(0)
) -> Callable[[Size], nn.Module]:
    """A network that reads the batch's size first and reshapes its pooled map with it at the end."""

    def forward(self: Any, x: Tensor) -> Tensor:
        n = read(x)
        x = self.pool(F.relu(self.second(F.relu(self.first(x)))))
        return self.fc(function(x, n))

    return lambda size: Do(
        forward,
        first=nn.Conv2d(3, 8, 3, 2, 1),
        second=nn.Conv2d(8, 16, 3, 2, 1),
        pool=nn.AdaptiveAvgPool2d(1),
        fc=nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 5)),
    )


rows = [
    Spelling("flatten", _rows(lambda x, n: x.flatten(1))),
    Spelling("flatten_function", _rows(lambda x, n: torch.flatten(x, start_dim=1))),
    Spelling("size_read_first", _rows(lambda x, n: x.view(n, -1))),
    Spelling("size_read_first_reshape", _rows(lambda x, n: x.reshape((n, -1)))),
    Spelling("shape_read_first", _rows(lambda x, n: x.view(n, -1), lambda x: x.shape[0])),
    Spelling("own_size", _rows(lambda x, n: x.view(x.size(0), -1))),
    Spelling("channels_known", _rows(lambda x, n: x.view(-1, 16))),
    Spelling("squeeze", _rows(lambda x, n: x.squeeze(-1).squeeze(-1))),
    Spelling("squeeze_both", _rows(lambda x, n: x.squeeze(3).squeeze(2))),
    Spelling("index", _rows(lambda x, n: x[:, :, 0, 0])),
    Spelling("mean_of_one", _rows(lambda x, n: x.mean((2, 3)))),
]


def _hidden(function: Callable[..., Tensor]) -> Callable[[Size], nn.Module]:
    def build(size: Size) -> nn.Module:
        return Network(head=Do(function, hidden=nn.Linear(16, 6), last=nn.Linear(6, 5)))

    return build


def _bare(function: Callable[..., Tensor]) -> Callable[[Size], nn.Module]:
    """A head whose layers are bare parameters."""

    def build(size: Size) -> nn.Module:
        parts = {name: nn.Parameter(torch.empty(shape)) for name, shape in _HEAD.items()}
        return Network(head=Do(function, **parts))

    return build


_HEAD = {"w1": (6, 16), "b1": (6,), "w2": (5, 6), "b2": (5,)}
head = [
    Spelling("modules", _hidden(lambda self, x: self.last(F.relu(self.hidden(x))))),
    Spelling("linear", _bare(lambda self, x: F.linear(F.relu(F.linear(x, self.w1, self.b1)), self.w2, self.b2))),
    Spelling("matmul", _bare(lambda self, x: F.relu(x @ self.w1.T + self.b1) @ self.w2.T + self.b2), exotic=True),
    Spelling(
        "addmm",
        _bare(
            lambda self, x: torch.addmm(self.b2, F.relu(torch.addmm(self.b1, x, self.w1.T)), self.w2.T),
        ),
        exotic=True,
    ),
    Spelling(
        "convolutions",
        lambda size: Network(
            reduce=nn.AdaptiveAvgPool2d(1),
            head=nn.Sequential(nn.Conv2d(16, 6, 1), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.Flatten()),
        ),
        exotic=True,
    ),
]


def named(kinds: dict[str, list[Spelling]]) -> Iterator[tuple[str, Spelling, Spelling]]:
    """Each spelling with the first of its kind, and their name."""
    for kind, spellings in kinds.items():
        for spelling in spellings[1:]:
            yield f"{kind}-{spelling.name.rstrip('_')}", spellings[0], spelling


WHOLE_MAPS = {
    "mean": mean,
    "max": maximum,
    "deviation": deviation,
    "norm": norm,
    "logsumexp": logsumexp,
    "gem": gem,
    "rows": rows,
    "head": head,
}


def filled(model: nn.Module) -> nn.Module:
    """The model in float64 with values that depend on the order of its parameters alone."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.double().parameters():
            values = torch.randn(parameter.numel(), generator=generator, dtype=torch.float64)
            parameter.copy_(values.view_as(parameter) / max(1, parameter[0].numel()) ** 0.5)
    return model.eval()
