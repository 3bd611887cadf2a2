"""The published scheme (arXiv 1805.10766) as a baseline: 5-D tensors, 3-D layers, four shifts at each stride.

Feature maps are (N, C, S, H, W). A strided layer is evaluated at all four positions of its 2×2 windows, and two of
the four results are discarded. It computes what the naive CCNN computes; the published code pads max pooling with
zeros, which is corrected here.
"""

import copy
from itertools import product
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import DenseNet

from ccnn.multisampling.windows import output_size, pair, reach_of, strides

POSITIONS = tuple(product((0, 1), repeat=2))
KEPT = (0, 3)
"""The naive sampler: top left and bottom right."""


def to_5d(model: nn.Module, literal: bool = False) -> nn.Module:
    """Converts a 2-D CNN whose strides are 2 to the published scheme; the model itself is not changed.

    Args:
        model: the plain network.
        literal: each position pads for itself, all four results are stacked, and two are selected by index, as a
            choice for each submap requires; backward passes through all four. Otherwise the least that the scheme
            can cost: one padded input, and backward through the two that are kept.

    Raises:
        ValueError: if the scheme has no form for a layer.

    Example:
        >>> to_5d(nn.Conv2d(3, 8, 3, 2, 1))(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8, 2, 4, 4])
    """
    body = _convert(copy.deepcopy(model), "", literal)
    if isinstance(body, DenseNet):
        body.__class__ = _DenseNet5d  # Its forward calls a 2-D function; the published code edits such forwards.
    return Network5d(body).train(model.training)


class Network5d(nn.Module):
    """Gives images the axis of submaps: (N, C, H, W) → (N, C, 1, H, W) → the network's output."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.unsqueeze(2))


class _DenseNet5d(DenseNet):
    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool3d(features, 1).flatten(1))


class _Layer5d(nn.Module):
    """A convolution or pooling; at stride 2 (N, C, S, H, W) → (N, C', 2·S, H', W'), position by position."""

    def __init__(self, layer: Any, literal: bool) -> None:
        super().__init__()
        self.layer = [layer]  # In a list: its sizes are used, it is not a submodule.
        self.literal = literal
        self.kernel, self.padding = pair(layer.kernel_size), pair(layer.padding)
        self.dilation = pair(getattr(layer, "dilation", 1))
        if isinstance(layer, nn.Conv2d):
            self.weight = nn.Parameter(layer.weight.detach().unsqueeze(2), layer.weight.requires_grad)
            self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer[0]
        if strides(layer) == (1, 1):
            padding, dilation = (0, *self.padding), (1, *self.dilation)
            return F.conv3d(x, self.weight, self.bias, 1, padding, dilation, layer.groups)
        if isinstance(layer, nn.AvgPool2d) and layer.ceil_mode:
            # Shifted views end with the input: PyTorch divides by the values there are, as multisampling does.
            rows, columns = (-(-side // 2) for side in x.shape[3:])
            pooled = [F.avg_pool3d(x[..., dy:, dx:], (1, 2, 2), ceil_mode=True) for dy, dx in POSITIONS]
            return self._keep([F.pad(y, (0, columns - y.shape[4], 0, rows - y.shape[3])) for y in pooled])
        size, ceil_mode = (x.shape[3], x.shape[4]), getattr(layer, "ceil_mode", False)
        windows = output_size(size, self.kernel, (2, 2), self.padding, self.dilation, ceil_mode)
        reach = reach_of(windows, self.kernel, (2, 2), self.dilation)
        below, right = (max(reach[axis] + 1 - size[axis] - self.padding[axis], 0) for axis in (0, 1))
        fill = -inf if isinstance(layer, nn.MaxPool2d) else 0.0
        outputs: list[Tensor] = []
        padded = x
        for dy, dx in POSITIONS:
            if self.literal or not outputs:
                padded = F.pad(x, (self.padding[1], right, self.padding[0], below), value=fill)
            outputs.append(self._operate(padded[..., dy : dy + reach[0], dx : dx + reach[1]]))
        kept = self._keep(outputs)
        beyond = any((windows[axis] - 1) * 2 + 1 >= size[axis] + self.padding[axis] for axis in (0, 1))
        return kept.masked_fill(kept == fill, 0.0) if fill and beyond else kept

    def _operate(self, view: Tensor) -> Tensor:
        layer, kernel, dilation = self.layer[0], (1, *self.kernel), (1, *self.dilation)
        if isinstance(layer, nn.Conv2d):
            return F.conv3d(view, self.weight, self.bias, (1, 2, 2), 0, dilation, layer.groups)
        if isinstance(layer, nn.MaxPool2d):
            return F.max_pool3d(view, kernel, (1, 2, 2), 0, dilation)
        return F.avg_pool3d(view, kernel, (1, 2, 2))

    def _keep(self, outputs: list[Tensor]) -> Tensor:
        if self.literal:
            chosen = torch.tensor(KEPT, device=outputs[0].device)
            return torch.stack(outputs, dim=2).index_select(2, chosen).flatten(2, 3)
        return torch.cat([outputs[position] for position in KEPT], dim=2)


class _MergedAvgPool(nn.Module):
    """The mean over submaps, then the 2-D pooling, whose output the network's head flattens."""

    def __init__(self, layer: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(2))


def _convert(module: nn.Module, name: str, literal: bool) -> nn.Module:
    """Replaces the layers of a network, or the layer itself."""
    if (layer := _layer(module, literal)) is not None:
        return layer.train(module.training)
    is_layer = type(module).__module__.startswith("torch.nn.")
    if type(module).__name__.endswith("2d") or not (is_layer or list(module.children())):
        raise ValueError(f"to_5d: the published scheme has no form for {name or 'the model'!r}: {module!r}")
    for child, part in module.named_children():
        setattr(module, child, _convert(part, f"{name}.{child}".lstrip("."), literal))
    return module


def _layer(module: nn.Module, literal: bool) -> nn.Module | None:
    """The 5-D form of a layer; None if it stays, or has no form."""
    match module:
        case nn.BatchNorm2d():
            module.__class__ = nn.BatchNorm3d  # type: ignore[assignment]
            return module
        case nn.Dropout2d():
            return nn.Dropout3d(module.p)
        case nn.AdaptiveMaxPool2d() if pair(module.output_size) == (1, 1):
            return nn.AdaptiveMaxPool3d(1)
        case nn.AdaptiveAvgPool2d():
            return nn.AdaptiveAvgPool3d(1) if pair(module.output_size) == (1, 1) else _MergedAvgPool(module)
        case nn.Conv2d() if strides(module) in ((1, 1), (2, 2)):
            known = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        case nn.MaxPool2d() if strides(module) == (2, 2):
            known = not module.return_indices
        case nn.AvgPool2d() if strides(module) == (2, 2):
            padded = any(pair(module.padding))
            simple = pair(module.kernel_size) == (2, 2) and not padded
            known = not module.divisor_override and (
                simple if module.ceil_mode else module.count_include_pad or not padded
            )
        case _:
            return None
    return _Layer5d(module, literal) if known else None
