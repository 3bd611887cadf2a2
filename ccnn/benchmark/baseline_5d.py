"""The published scheme (arXiv 1805.10766) to compare with: 5-D tensors, 3-D layers, four shifts at each stride.

Feature maps are (N, C, S, H, W). A strided layer is evaluated at all four positions of its 2×2 windows, and two of
the four results are thrown away. It is a baseline for speed and memory, and computes what the naive CCNN computes:
where the published code is wrong (max pooling padded with zeros), this is right.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import DenseNet

from ccnn.multisampling.windows import Pair, output_size, pair, reach_of, strides

POSITIONS = ((0, 0), (0, 1), (1, 0), (1, 1))
KEPT = (0, 3)
"""The naive sampler: top left and bottom right."""


def to_5d(model: nn.Module, literal: bool = False) -> nn.Module:
    """The published scheme's form of a 2-D CNN whose strides are 2; the model itself is left alone.

    Args:
        model: the plain network.
        literal: each of the four pads for itself, all are stacked, and two are taken by index, as a choice for
            each submap needs it: backward goes through all four. Otherwise the least that the scheme can cost:
            all share one padded input, and backward goes through the two that are kept.

    Raises:
        ValueError: for a layer that the scheme has no form for.
    """
    body = _convert(copy.deepcopy(model), "")
    for layer in body.modules():
        if isinstance(layer, _FourShifts):
            layer.literal = literal
    if isinstance(body, DenseNet):
        # Its forward pools with a 2-D function: such forwards had to be edited by hand.
        body.__class__ = _DenseNet5d
    return Network5d(body).train(model.training)


class Network5d(nn.Module):
    """Gives the images their axis of submaps: (N, C, H, W) → (N, C, 1, H, W) → the network's output."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.unsqueeze(2))


class _DenseNet5d(DenseNet):
    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool3d(features, 1).flatten(1))


class _FourShifts(nn.Module):
    """What strided layers share: the operation at four positions, of which two are kept."""

    literal = False

    def _keep(self, shifted: list[Tensor]) -> Tensor:
        if self.literal:
            chosen = torch.tensor(KEPT, device=shifted[0].device)
            return torch.stack(shifted, dim=2).index_select(2, chosen).flatten(2, 3)
        return torch.cat([shifted[i] for i in KEPT], dim=2)

    def _sample(self, x: Tensor, layer: Any, dilation: Pair, value: float) -> Tensor:
        """Maps (N, C, S, H, W) to (N, C', 2·S, H', W'): all submaps top left, then all bottom right.

        Args:
            x: the input.
            layer: has the 2-D layer's sizes.
            dilation: of the windows.
            value: what the padding and all beyond it is made of.
        """
        kernel, padding = pair(layer.kernel_size), pair(layer.padding)
        size = (x.shape[3], x.shape[4])
        ceil_mode = getattr(layer, "ceil_mode", False)
        windows = output_size(size, kernel, (2, 2), padding, dilation, ceil_mode)
        reach = reach_of(windows, kernel, (2, 2), dilation)
        below, right = (max(reach[axis] + 1 - size[axis] - padding[axis], 0) for axis in (0, 1))
        shifted: list[Tensor] = []
        padded = x
        for dy, dx in POSITIONS:
            if self.literal or not shifted:
                padded = F.pad(x, (padding[1], right, padding[0], below), value=value)
            shifted.append(self._operate(padded[:, :, :, dy : dy + reach[0], dx : dx + reach[1]]))
        kept = self._keep(shifted)
        beyond = any((windows[axis] - 1) * 2 + 1 >= size[axis] + padding[axis] for axis in (0, 1))
        return kept.masked_fill(kept == value, 0.0) if value and beyond else kept

    def _operate(self, view: Tensor) -> Tensor:
        raise NotImplementedError


class _Conv5d(nn.Conv3d, _FourShifts):
    """A 1×k×k convolution with the weights of a 2-D one."""

    def __init__(self, layer: nn.Conv2d) -> None:
        kernel, stride, padding, dilation = (
            pair(size) for size in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        super().__init__(
            layer.in_channels, layer.out_channels, (1, *kernel), (1, *stride), (0, *padding), (1, *dilation),
            layer.groups, layer.bias is not None, device="meta",
        )  # fmt: skip
        self.layer = [layer]  # in a list: for its sizes alone, not as a submodule
        self.weight = nn.Parameter(layer.weight.detach().unsqueeze(2), layer.weight.requires_grad)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1, 1):
            return super().forward(x)
        return self._sample(x, self.layer[0], pair(self.layer[0].dilation), 0.0)

    def _operate(self, view: Tensor) -> Tensor:
        return F.conv3d(view, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class _MaxPool5d(_FourShifts):
    def __init__(self, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self.layer = [layer]
        self.kernel, self.dilation = (1, *pair(layer.kernel_size)), (1, *pair(layer.dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self._sample(x, self.layer[0], pair(self.layer[0].dilation), float("-inf"))

    def _operate(self, view: Tensor) -> Tensor:
        return F.max_pool3d(view, self.kernel, (1, 2, 2), 0, self.dilation)


class _AvgPool5d(_FourShifts):
    def __init__(self, layer: nn.AvgPool2d) -> None:
        super().__init__()
        self.layer = [layer]
        self.kernel = (1, *pair(layer.kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer[0]
        return self._rounded_up(x) if layer.ceil_mode else self._sample(x, layer, (1, 1), 0.0)

    def _rounded_up(self, x: Tensor) -> Tensor:
        """Pools the shifted views as they end: PyTorch then counts what is there, as multisampling does."""
        rows, columns = -(-x.shape[3] // 2), -(-x.shape[4] // 2)
        pooled = [
            F.avg_pool3d(x[:, :, :, dy:, dx:], self.kernel, (1, 2, 2), ceil_mode=True) for dy, dx in POSITIONS
        ]
        return self._keep([F.pad(out, (0, columns - out.shape[4], 0, rows - out.shape[3])) for out in pooled])

    def _operate(self, view: Tensor) -> Tensor:
        return F.avg_pool3d(view, self.kernel, (1, 2, 2))


class _MergedAvgPool(nn.Module):
    """The mean over the submaps, then the 2-D pooling, which the network's head flattens."""

    def __init__(self, layer: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(2))


def _convert(module: nn.Module, name: str) -> nn.Module:
    """Replaces the layers of a network that have a 2-D form, itself included."""
    if (layer := _layer(module)) is not None:
        return layer.train(module.training)
    if type(module).__name__.endswith("2d") or not (
        type(module).__module__.startswith("torch.nn.") or next(module.children(), None) is not None
    ):
        raise ValueError(f"to_5d: the published scheme has no form for {name or 'the model'!r}: {module!r}")
    for child, part in module.named_children():
        setattr(module, child, _convert(part, f"{name}.{child}".lstrip(".")))
    return module


def _layer(module: nn.Module) -> nn.Module | None:
    """What a layer becomes; None if it stays, or has no form."""
    if isinstance(module, nn.BatchNorm2d):
        module.__class__ = nn.BatchNorm3d  # type: ignore[assignment]
        return module
    if isinstance(module, nn.Dropout2d):
        return nn.Dropout3d(module.p)
    if isinstance(module, nn.AdaptiveMaxPool2d) and pair(module.output_size) == (1, 1):
        return nn.AdaptiveMaxPool3d(1)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool3d(1) if pair(module.output_size) == (1, 1) else _MergedAvgPool(module)
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) or strides(module) not in ((1, 1), (2, 2)):
        return None
    if isinstance(module, nn.Conv2d):
        plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return _Conv5d(module) if plain else None
    strided = strides(module) == (2, 2)
    if isinstance(module, nn.MaxPool2d):
        return _MaxPool5d(module) if strided and not module.return_indices else None
    padded, counts_all = any(pair(module.padding)), module.count_include_pad
    simple = pair(module.kernel_size) == (2, 2) and not padded if module.ceil_mode else counts_all or not padded
    return _AvgPool5d(module) if strided and simple and not module.divisor_override else None
