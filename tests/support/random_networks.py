"""Small random CNNs whose blocks also say, on 5-D tensors (N, C, S, H, W), what multisampling makes of them.

A block's `forward` is written in one of several spellings; its `reference` is written from the paper's facts, with
the lattice sequence. Nothing of the package is imported here.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from reference import LATTICE, evaluate_at, output_order
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A part of a network: `forward` on images, `reference` on their submaps."""

    def reference(self, x: Tensor) -> Tensor:
        return per_submap(self, x)


def per_submap(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies a function of (N, C, H, W) to each submap by itself."""
    return torch.stack([function(submap) for submap in x.unbind(2)], 2)


def sampled(layer: nn.Module, x: Tensor) -> Tensor:
    """Evaluates a layer of stride 2 at the positions that the lattice keeps at this level."""
    order = output_order(LATTICE[int(math.log2(x.shape[2]))])
    return torch.stack([evaluate_at(layer, x[:, :, s], dy, dx) for s, dy, dx in order], 2)


class Conv(Block):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, spelling: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        conv, pad = self.conv, self.conv.kernel_size[0] // 2
        if self.spelling == "function":
            return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
        if self.spelling == "padding":
            return F.conv2d(F.pad(x, (pad, pad, pad, pad)), conv.weight, conv.bias, conv.stride)
        return conv(x)

    def reference(self, x: Tensor) -> Tensor:
        return sampled(self.conv, x) if self.conv.stride == (2, 2) else per_submap(self.conv, x)


class Pool(Block):
    def __init__(self, kind: str, kernel: int, spelling: str) -> None:
        super().__init__()
        self.pool = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind](kernel, 2, (kernel - 1) // 2)
        self.function: Any = {"max": F.max_pool2d, "avg": F.avg_pool2d}[kind]
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "function":
            return self.function(x, self.pool.kernel_size, self.pool.stride, self.pool.padding)
        return self.pool(x)

    def reference(self, x: Tensor) -> Tensor:
        return sampled(self.pool, x)


class BatchNorm(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def reference(self, x: Tensor) -> Tensor:
        norm = self.norm
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, 0.1)


class GroupNorm(Block):
    def __init__(self, channels: int, spelling: str) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, channels)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "function":
            return F.group_norm(x, 2, self.norm.weight, self.norm.bias)
        return self.norm(x)

    def reference(self, x: Tensor) -> Tensor:
        return self.norm(x)  # takes 5-D tensors as they are


class Act(Block):
    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x)


class Residual(Block):
    def __init__(self, main: list[Block], shortcut: list[Block]) -> None:
        super().__init__()
        self.main, self.shortcut = nn.Sequential(*main), nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)

    def reference(self, x: Tensor) -> Tensor:
        return through(self.main, x) + through(self.shortcut, x)


class Dense(Block):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], 1)


class SqueezeExcite(Block):
    def __init__(self, channels: int, spelling: str) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        spellings: dict[str, Callable[[Tensor], Tensor]] = {
            "module": self.pool,
            "mean": lambda x: x.mean((2, 3), keepdim=True),
            "window": lambda x: F.avg_pool2d(x, x.shape[2:]),
            "flatten": lambda x: x.flatten(2).mean(-1)[:, :, None, None],
        }
        return x * torch.sigmoid(self.up(F.relu(self.down(spellings[self.spelling](x)))))

    def reference(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3, 4))[:, :, None, None]
        return x * torch.sigmoid(self.up(F.relu(self.down(pooled))))[:, :, None]


class Hourglass(Block):
    """Attention that goes down and comes up again: the branch stays traditional, for each submap by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.conv = nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.interpolate(self.conv(self.pool(x)), size=x.shape[2:]))


def through(blocks: nn.Sequential, x: Tensor) -> Tensor:
    for block in blocks:
        assert isinstance(block, Block)
        x = block.reference(x)
    return x


class RandomNetwork(nn.Module):
    """Blocks, a reduction of the last map, a classifier, and perhaps an auxiliary output halfway."""

    def __init__(self, blocks: list[Block], channels: list[int], reduction: str, auxiliary: int | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.reduction, self.auxiliary = reduction, auxiliary
        self.pool = {"avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}.get(reduction)
        self.fc = nn.Sequential(nn.Linear(channels[-1], 6), nn.ELU(), nn.Linear(6, 3))
        self.head = None if auxiliary is None else nn.Linear(channels[auxiliary], 3)

    def forward(self, x: Tensor) -> Any:
        extra = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place == self.auxiliary:
                extra.append(self.head(x.mean((2, 3))))  # type: ignore[misc]
        x = x.amax((2, 3)) if self.pool is None else self.pool(x).flatten(1)
        return (self.fc(x), *extra)

    def reference(self, x: Tensor) -> Any:
        x, extra = x.unsqueeze(2), []
        for place, block in enumerate(self.blocks):
            x = through(nn.Sequential(block), x)
            if place == self.auxiliary:
                extra.append(self.head(x.mean((2, 3, 4))))  # type: ignore[misc]
        x = x.mean((2, 3, 4)) if self.reduction == "avg" else x.amax((2, 3, 4))
        return (self.fc(x), *extra)


def _choice(draw: Any, *spellings: str) -> str:
    return draw(st.sampled_from(spellings))


def _strided(draw: Any, channels: int) -> Block:
    kind = draw(st.sampled_from(["conv", "pool", "residual"]))
    if kind == "pool":
        pooling, kernel = draw(st.sampled_from(["max", "avg"])), draw(st.sampled_from([2, 3]))
        return Pool(pooling, kernel, _choice(draw, "module", "function"))
    conv = Conv(channels, 8, draw(st.sampled_from([1, 3])), 2, _choice(draw, "module", "function", "padding"))
    if kind == "conv":
        return conv
    shortcut: list[Block] = [Conv(channels, 8, 1, 2, _choice(draw, "module", "function"))]
    if draw(st.booleans()):  # as ResNet-D has it; the kernel must reach as far as the main branch
        shortcut = [Pool("max", 3, _choice(draw, "module", "function")), Conv(channels, 8, 1, 1, "module")]
    return Residual([conv, BatchNorm(8), Act(), Conv(8, 8, 3, 1, "module")], shortcut)


def _plain(draw: Any, channels: int) -> Block:
    kinds = ["conv", "batch_norm", "group_norm", "act", "dense", "se", "hourglass"]
    match draw(st.sampled_from(kinds)):
        case "conv":
            return Conv(channels, 8, 3, 1, _choice(draw, "module", "function", "padding"))
        case "batch_norm":
            return BatchNorm(channels)
        case "group_norm":
            return GroupNorm(channels, _choice(draw, "module", "function"))
        case "dense":
            return Dense(channels, 4)
        case "se":
            return SqueezeExcite(channels, _choice(draw, "module", "mean", "window", "flatten"))
        case "hourglass":
            return Hourglass(channels)
    return Act()


@st.composite
def networks(draw: Any) -> RandomNetwork:
    """Networks of one to three levels on images of three channels."""
    blocks: list[Block] = [Conv(3, 8, 3, 1, "module")]
    channels = [8]
    for _ in range(draw(st.integers(1, 3))):
        for make in (_strided, *[_plain] * draw(st.integers(0, 3))):
            blocks.append(make(draw, channels[-1]))
            with torch.no_grad():
                channels.append(blocks[-1](torch.zeros(2, channels[-1], 8, 8)).shape[1])
    auxiliary = draw(st.none() | st.integers(1, len(blocks) - 1))
    return RandomNetwork(blocks, channels, _choice(draw, "avg", "max", "amax"), auxiliary)
