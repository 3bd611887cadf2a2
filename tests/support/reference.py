"""An independent, slow and plain implementation of multisampling, written from the paper's facts alone.

Tests compare the package with it. Nothing of the package is imported here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG, DenseNet, ResNet
from torchvision.models.densenet import _DenseBlock
from torchvision.models.resnet import BasicBlock, Bottleneck

Sampler = tuple[tuple[int, int], ...]  # the kept (dy, dx) of a window, in the order of their output
Levels = Sequence[Sequence[int | Sampler]]  # per subsampling level, per incoming submap: a sampler

TRADITIONAL: Sampler = ((0, 0),)
STANDARD: Sampler = ((0, 0), (1, 1))
COMPLEMENTARY: Sampler = ((0, 1), (1, 0))
THREE_QUARTERS: Sampler = ((0, 0), (1, 1), (0, 1))
COMPLETE: Sampler = ((0, 0), (1, 0), (0, 1), (1, 1))

LATTICE: Levels = [
    [0],
    [0, 0],
    [0, 1, 0, 1],
    [0, 1, 1, 0, 0, 0, 1, 1],
    [0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0],
]


def naive(levels: int) -> Levels:
    """Give sampler 0 to every submap of every level."""
    return [[0] * 2**level for level in range(levels)]


def traditional(levels: int) -> Levels:
    """Keep the top-left position alone: the ordinary network."""
    return [[TRADITIONAL]] * levels


def positions(sampler: int | Sampler) -> Sampler:
    """Resolve the indices 0 (standard) and 1 (complementary)."""
    return (STANDARD, COMPLEMENTARY)[sampler] if isinstance(sampler, int) else sampler


def output_order(samplers: Sequence[int | Sampler]) -> list[tuple[int, int, int]]:
    """List (submap, dy, dx) of every output submap: the first position of all submaps, then the second…"""
    kept = [positions(sampler) for sampler in samplers]
    assert len({len(sampler) for sampler in kept}) == 1, "all samplers must keep equally many positions"
    return [(submap, *kept[submap][k]) for k in range(len(kept[0])) for submap in range(len(kept))]


# ---------------------------------------------------------------- 1. one layer at one position


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def evaluate_at(layer: nn.Module, x: Tensor, dy: int, dx: int) -> Tensor:
    """Evaluate a strided layer with its window grid moved by (dy, dx); `x` is (N, C, H, W)."""
    stride = _stride(layer)
    height, width = output_size(layer, x.shape[-2], x.shape[-1])
    if isinstance(layer, nn.Conv2d):
        full = _conv_at_stride_1(layer, x, dy, dx)
    elif isinstance(layer, nn.MaxPool2d):
        full = _max_at_stride_1(layer, x, dy, dx)
    elif isinstance(layer, nn.AvgPool2d):
        full = _avg_at_stride_1(layer, x, dy, dx)
    else:
        full = _lp_at_stride_1(cast(nn.LPPool2d, layer), x, dy, dx)
    picked = full[:, :, dy :: stride[0], dx :: stride[1]][:, :, :height, :width]
    assert picked.shape[-2:] == (height, width)
    return picked


def output_size(layer: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Size of the output of the ordinary strided layer."""
    sizes = []
    for axis, size in enumerate((height, width)):
        kernel, stride = _kernel(layer)[axis], _stride(layer)[axis]
        padding, dilation = _padding(layer)[axis], _dilation(layer)[axis]
        room = size + 2 * padding - dilation * (kernel - 1) - 1
        if getattr(layer, "ceil_mode", False):
            count = math.ceil(room / stride) + 1
            if (count - 1) * stride >= size + padding:  # a window may not start in the right padding
                count -= 1
        else:
            count = room // stride + 1
        sizes.append(count)
    return sizes[0], sizes[1]


def _kernel(layer: nn.Module) -> tuple[int, int]:
    return pair(cast("int | tuple[int, ...]", layer.kernel_size))


def _stride(layer: nn.Module) -> tuple[int, int]:
    stride = cast("int | tuple[int, ...] | None", layer.stride)
    return _kernel(layer) if stride is None else pair(stride)


def _padding(layer: nn.Module) -> tuple[int, int]:
    padding = cast("int | tuple[int, ...] | str", getattr(layer, "padding", 0))  # LPPool2d has none
    if isinstance(padding, str):
        assert padding == "valid", "'same' exists at stride 1 only"
        return 0, 0
    return pair(padding)


def _dilation(layer: nn.Module) -> tuple[int, int]:
    return pair(cast("int | tuple[int, ...]", getattr(layer, "dilation", 1)))


def _pad(layer: nn.Module, x: Tensor, value: float = 0.0, mode: str = "constant") -> Tensor:
    """Pad on all four sides, as the layer says."""
    rows, columns = _padding(layer)
    sides = (columns, columns, rows, rows) + (0, 0) * (x.dim() - 4)  # no padding along submaps
    return F.pad(x, sides, mode, value) if mode == "constant" else F.pad(x, sides, mode)


def _extend(layer: nn.Module, x: Tensor, dy: int, dx: int, value: float = 0.0) -> Tensor:
    """Add more than enough border at the bottom and the right for a grid moved by (dy, dx)."""
    rows, columns = (
        move + stride + dilation * kernel
        for move, stride, dilation, kernel in zip(
            (dy, dx), _stride(layer), _dilation(layer), _kernel(layer), strict=True
        )
    )
    return F.pad(x, (0, columns, 0, rows), value=value)


def _windows(layer: nn.Module, x: Tensor) -> Tensor:
    """Stack the elements of every window at stride 1 of an already padded input: (kh·kw, N, C, H', W')."""
    (kh, kw), (sy, sx) = _kernel(layer), _dilation(layer)
    height, width = x.shape[-2] - sy * (kh - 1), x.shape[-1] - sx * (kw - 1)
    views = [x[:, :, sy * i : sy * i + height, sx * j : sx * j + width] for i in range(kh) for j in range(kw)]
    return torch.stack(views)


def _real_elements(layer: nn.Module, x: Tensor, dy: int, dx: int) -> Tensor:
    """Count the elements of each stride-1 window that belong to the input itself."""
    return _windows(layer, _extend(layer, _pad(layer, torch.ones_like(x)), dy, dx)).sum(0)


def _conv_at_stride_1(layer: nn.Conv2d, x: Tensor, dy: int, dx: int) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    extended = _extend(layer, _pad(layer, x, mode=mode), dy, dx)
    return F.conv2d(extended, layer.weight, layer.bias, 1, 0, _dilation(layer), layer.groups)


def _max_at_stride_1(layer: nn.MaxPool2d, x: Tensor, dy: int, dx: int) -> Tensor:
    nothing = -math.inf
    extended = _extend(layer, _pad(layer, x, nothing), dy, dx, nothing)
    largest = _windows(layer, extended).max(0).values
    return torch.where(_real_elements(layer, x, dy, dx) > 0, largest, torch.zeros_like(largest))


def _avg_at_stride_1(layer: nn.AvgPool2d, x: Tensor, dy: int, dx: int) -> Tensor:
    total = _windows(layer, _extend(layer, _pad(layer, x), dy, dx)).sum(0)
    if layer.divisor_override is not None:
        return total / layer.divisor_override
    if not layer.count_include_pad:
        return total / _real_elements(layer, x, dy, dx).clamp(min=1)
    if not layer.ceil_mode:
        return total / math.prod(_kernel(layer))
    return total / _clipped_size(layer, x, dy, dx)


def _lp_at_stride_1(layer: nn.LPPool2d, x: Tensor, dy: int, dx: int) -> Tensor:
    """Take the p-th root of (the average of x^p as PyTorch's average pooling has it, times kh·kw)."""
    total = _windows(layer, _extend(layer, x**layer.norm_type, dy, dx)).sum(0)
    if layer.ceil_mode:
        total = total * math.prod(_kernel(layer)) / _clipped_size(layer, x, dy, dx)
    real = _real_elements(layer, x, dy, dx) > 0
    root = torch.where(real, total, torch.ones_like(total)) ** (1 / layer.norm_type)  # no 0 · inf in backward
    return torch.where(real, root, torch.zeros_like(root))


def _clipped_size(layer: nn.Module, x: Tensor, dy: int, dx: int) -> Tensor:
    """Count the elements of each window that lie in the input or its explicit padding (at least 1)."""
    padded = _pad(layer, torch.ones_like(x), 1.0)
    return _windows(layer, _extend(layer, padded, dy, dx)).sum(0).clamp(min=1)


# ---------------------------------------------------------------- 2. one layer on all submaps


def multisample_reference(layer: nn.Module, x: Tensor, submaps: int, samplers: Sequence[int | Sampler]) -> Tensor:
    """Map the folded (S·N, C, H, W) to (m·S·N, C', H', W'), both submap-major, in the paper's order."""
    assert len(samplers) == submaps
    maps = x.unflatten(0, (submaps, -1))
    return torch.cat([evaluate_at(layer, maps[submap], dy, dx) for submap, dy, dx in output_order(samplers)])


def fold(x: Tensor) -> Tensor:
    """Fold (N, C, S, H, W) to (S·N, C, H, W), submap-major."""
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


# ---------------------------------------------------------------- 3. whole networks on (N, C, S, H, W)


class Conv5d(nn.Conv3d):
    """A (1, kh, kw) convolution with the weights of a 2-D one; `samplers` if it is strided."""

    def __init__(self, layer: nn.Conv2d, samplers: Sequence[int | Sampler] | None) -> None:
        padding = layer.padding if isinstance(layer.padding, str) else (0, *pair(layer.padding))
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            kernel_size=(1, *pair(layer.kernel_size)),
            stride=1,
            padding=padding,
            dilation=(1, *pair(layer.dilation)),
            groups=layer.groups,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
        )
        self.layer_2d = [layer]  # in a list: for its settings alone, not a submodule
        self.samplers = samplers
        self.weight = nn.Parameter(layer.weight.detach().clone().unsqueeze(2), layer.weight.requires_grad)
        if layer.bias is not None:
            self.bias = nn.Parameter(layer.bias.detach().clone(), layer.bias.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        if self.samplers is None:
            return super().forward(x)
        assert x.shape[2] == len(self.samplers), f"{x.shape[2]} submaps, {len(self.samplers)} samplers"
        layer, order = self.layer_2d[0], output_order(self.samplers)
        (sy, sx), (height, width) = _stride(layer), output_size(layer, x.shape[-2], x.shape[-1])
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        extended = _extend(layer, _pad(layer, x, mode=mode), sy, sx)
        full = F.conv3d(extended, self.weight, self.bias, 1, 0, self.dilation, self.groups)
        return torch.stack([full[:, :, s, dy::sy, dx::sx][..., :height, :width] for s, dy, dx in order], 2)


class Pool5d(nn.Module):
    """A checkered pooling layer: any strided 2-D pooling layer, one submap and one position at a time."""

    def __init__(self, layer: nn.Module, samplers: Sequence[int | Sampler]) -> None:
        super().__init__()
        self.layer, self.samplers = layer, samplers

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == len(self.samplers), f"{x.shape[2]} submaps, {len(self.samplers)} samplers"
        order = output_order(self.samplers)
        return torch.stack([evaluate_at(self.layer, x[:, :, s], dy, dx) for s, dy, dx in order], 2)


class PerSubmap(nn.Module):
    """A 2-D layer that has no sampling to do, applied to one submap at a time."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.layer(submap) for submap in x.unbind(2)], 2)


def _convert(module: nn.Module, levels: Levels, level: int) -> tuple[nn.Module, int]:
    """Replace 2-D layers by 3-D ones; `level` counts the strided layers along the path, up to here.

    Children are taken in the order of their registration, which is the order of the forward pass in the
    families below, except that a residual block's `downsample` starts where the block itself started.
    """
    if isinstance(module, nn.Conv2d):
        strided = max(_stride(module)) > 1
        return Conv5d(module, levels[level] if strided else None).train(module.training), level + strided
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d | nn.LPPool2d):
        if max(_stride(module)) > 1:
            return Pool5d(module, levels[level]), level + 1
        return PerSubmap(module), level
    if isinstance(module, nn.BatchNorm2d):
        norm = nn.BatchNorm3d(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        for kind in ("_parameters", "_buffers"):
            setattr(norm, kind, copy.deepcopy(getattr(module, kind)))
        return norm.train(module.training), level
    if isinstance(module, nn.Dropout2d):
        return nn.Dropout3d(module.p).train(module.training), level
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        if module.output_size not in (1, (1, 1)):
            return PerSubmap(module), level
        joint = nn.AdaptiveAvgPool3d(1) if isinstance(module, nn.AdaptiveAvgPool2d) else nn.AdaptiveMaxPool3d(1)
        return joint, level
    start = level
    for name, child in list(module.named_children()):
        shortcut = isinstance(module, BasicBlock | Bottleneck) and name == "downsample"
        new, end = _convert(child, levels, start if shortcut else level)
        assert not shortcut or end == level, "a block and its shortcut must subsample equally often"
        module._modules[name] = new
        level = end
    return module, level


class Reference5d(nn.Module):
    """A torchvision ResNet, VGG or DenseNet, or an nn.Sequential, as a CCNN on 5-D tensors.

    Args:
        model: The ordinary network; its weights are copied, it is left alone.
        levels: Per subsampling level the sampler of each incoming submap: an index (0 standard,
            1 complementary) or the positions themselves.
    """

    def __init__(self, model: nn.Module, levels: Levels) -> None:
        super().__init__()
        self.body, self.depth = _convert(copy.deepcopy(model), levels, 0)
        self.training = model.training

    def features(self, x: Tensor) -> Tensor:
        """Give the feature map before the pooling and the classifier, (N, C, S, H, W)."""
        x, body = x.unsqueeze(2), self.body
        if isinstance(body, ResNet):
            x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
            for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
                for block in stage:
                    x = _residual(block, x)
            return x
        if isinstance(body, VGG):
            return body.features(x)
        if isinstance(body, DenseNet):
            for part in body.features:
                x = _dense_block(part, x) if isinstance(part, _DenseBlock) else part(x)
            return F.relu(x)
        for part in self._sequence()[: self._head()]:
            x = part(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        x, body = self.features(x), self.body
        if isinstance(body, ResNet):
            return body.fc(body.avgpool(x).mean(2).flatten(1))
        if isinstance(body, VGG):
            return body.classifier(body.avgpool(x).mean(2).flatten(1))
        if isinstance(body, DenseNet):
            return body.classifier(x.mean((2, 3, 4)))
        x = x.mean(2)
        for part in self._sequence()[self._head() :]:
            x = part(x)
        return x

    def _sequence(self) -> list[nn.Module]:
        assert isinstance(self.body, nn.Sequential), f"no forward is written for {type(self.body).__name__}"
        return _leaves(self.body)

    def _head(self) -> int:
        """Find where the submaps are averaged: before the first Flatten or Linear, or else at the end."""
        heads = [isinstance(part, nn.Flatten | nn.Linear) for part in self._sequence()]
        return [*heads, True].index(True)

    def state_2d(self) -> dict[str, Tensor]:
        """Give parameters and buffers by the 2-D model's names, in its shapes."""
        return {name: _squeeze(tensor) for name, tensor in self.body.state_dict().items()}

    def grads_2d(self) -> dict[str, Tensor]:
        """Give the gradients by the 2-D model's names, in its shapes."""
        parameters = self.body.named_parameters()
        return {name: _squeeze(value.grad) for name, value in parameters if value.grad is not None}


def _squeeze(tensor: Tensor) -> Tensor:
    return tensor.squeeze(2) if tensor.dim() == 5 else tensor  # a 5-D parameter is a convolution's kernel


def _leaves(sequence: nn.Sequential) -> list[nn.Module]:
    return [leaf for part in sequence for leaf in (_leaves(part) if isinstance(part, nn.Sequential) else [part])]


def _residual(block: nn.Module, x: Tensor) -> Tensor:
    shortcut = x if block.downsample is None else block.downsample(x)  # type: ignore[operator]
    if isinstance(block, BasicBlock):
        x = F.relu(block.bn1(block.conv1(x)))
        x = block.bn2(block.conv2(x))
    else:
        assert isinstance(block, Bottleneck)
        x = F.relu(block.bn1(block.conv1(x)))
        x = F.relu(block.bn2(block.conv2(x)))
        x = block.bn3(block.conv3(x))
    return F.relu(x + shortcut)


def _dense_block(block: nn.Module, x: Tensor) -> Tensor:
    for layer in block.values():  # type: ignore[operator]
        new = layer.conv1(F.relu(layer.norm1(x)))
        new = layer.conv2(F.relu(layer.norm2(new)))
        x = torch.cat([x, F.dropout(new, layer.drop_rate, layer.training)], 1)
    return x


# ---------------------------------------------------------------- 4. where the samples lie


def offsets_reference(levels: Levels, stride: int = 2) -> list[tuple[int, int]]:
    """Give each final submap's (dy, dx) in input pixels, in the output order."""
    offsets = [(0, 0)]
    for level, samplers in enumerate(levels):
        assert len(samplers) == len(offsets)
        scale = stride**level
        offsets = [
            (offsets[submap][0] + scale * dy, offsets[submap][1] + scale * dx)
            for submap, dy, dx in output_order(samplers)
        ]
    return offsets


def min_toroidal_distance(offsets: Sequence[tuple[int, int]], period: int) -> float:
    """Give the smallest distance between two samples (or a sample and its own copy) on the torus."""
    smallest = float(period)
    for i, (y1, x1) in enumerate(offsets):
        for y2, x2 in offsets[:i]:
            dy, dx = (y1 - y2) % period, (x1 - x2) % period
            smallest = min(smallest, math.hypot(min(dy, period - dy), min(dx, period - dx)))
    return smallest
