"""Suite `layers`: each multisampling layer against the plain strided layer that does the same amount of work."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import nn

from ccnn.benchmark.suites import Options
from ccnn.benchmark.timing import Candidate, interleave
from ccnn.benchmark.workload import Settings, autocast, has_bf16, memory_format
from ccnn.multisampling.convolution import CheckeredConv2d
from ccnn.multisampling.pooling import CheckeredAvgPool2d, CheckeredMaxPool2d

log = logging.getLogger(__name__)

SETTINGS: tuple[Settings, ...] = ("float32", "recommended")

_CHECKERED: dict[Any, Any] = {
    nn.Conv2d: CheckeredConv2d, nn.MaxPool2d: CheckeredMaxPool2d, nn.AvgPool2d: CheckeredAvgPool2d,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A layer of stride 2, and its input: maps of (C, H, W) for a number of images and submaps."""

    name: str
    layer: Any
    arguments: dict[str, Any]
    shape: tuple[int, int, int]
    images: int
    submaps: int = 1

    def plain(self) -> nn.Module:
        """PyTorch's layer."""
        return self.layer(stride=2, **self.arguments)

    def multisampling(self, sampling: str) -> nn.Module:
        """The multisampling layer."""
        return _CHECKERED[self.layer](stride=2, submaps=self.submaps, sampling=sampling, **self.arguments)


def _conv(name: str, c: int, out: int, kernel: int, side: int, images: int, submaps: int = 1, **more: int) -> Case:
    sizes = {"in_channels": c, "out_channels": out, "kernel_size": kernel, "padding": kernel // 2}
    return Case(name, nn.Conv2d, {**sizes, **more, "bias": False}, (c, side, side), images, submaps)


CASES = (
    _conv("3×3, 64 → 128", 64, 128, 3, 32, 32),
    _conv("3×3, 256 → 512", 256, 512, 3, 8, 32, 4),
    _conv("1×1, 64 → 128", 64, 128, 1, 32, 32),
    _conv("1×1, 256 → 512", 256, 512, 1, 8, 32, 4),
    _conv("7×7, 3 → 64", 3, 64, 7, 224, 4),
    _conv("3×3, 96 → 96, depthwise", 96, 96, 3, 56, 4, 2, groups=96),
    Case("max 2×2", nn.MaxPool2d, {"kernel_size": 2}, (64, 32, 32), 32),
    Case("max 2×2, ceil_mode", nn.MaxPool2d, {"kernel_size": 2, "ceil_mode": True}, (256, 8, 8), 32, 4),
    Case("max 3×3", nn.MaxPool2d, {"kernel_size": 3, "padding": 1}, (64, 112, 112), 4, 2),
    Case("average 2×2, ceil_mode", nn.AvgPool2d, {"kernel_size": 2, "ceil_mode": True}, (48, 32, 32), 32),
    Case("average 2×2", nn.AvgPool2d, {"kernel_size": 2}, (128, 28, 28), 4, 4),
)
"""The strided layers of the benchmark's networks."""


def measure_layers(options: Options) -> pd.DataFrame:
    """Times each layer against the plain one on twice the images, which is the same amount of work."""
    rows = []
    for case, sampling in product(CASES, ("naive", "lattice")):
        if sampling == "lattice" and case.submaps == 1:
            continue  # The first step of the lattice is naive.
        images = 1 if options.quick else case.images
        shape = (case.shape[0], 8, 8) if options.quick else case.shape
        log.info("%s, %d submaps, %s", case.name, case.submaps, sampling)
        maps = images * case.submaps
        for training, settings in product((False, True), SETTINGS):
            work = partial(_prepare, shape=shape, training=training, settings=settings, device=options.device)
            candidates = [
                Candidate("plain", partial(work, case.plain, 2 * maps)),
                Candidate("multisampling", partial(work, partial(case.multisampling, sampling), maps)),
            ]
            timings = interleave(candidates, options.limits)
            (_, plain, _), (_, ours, _) = (timing.quartiles for timing in timings.values())
            rows.append(
                {
                    "layer": case.name, "input": "×".join(map(str, shape)), "submaps": case.submaps,
                    "sampling": sampling, "task": "forward, backward" if training else "forward",
                    "settings": settings, "plain, s": plain, "multisampling, s": ours,
                    "time, ×": ours / plain if ours and plain else None,
                    "note": timings["plain"].note or timings["multisampling"].note,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _prepare(
    build: Callable[[], nn.Module], maps: int, shape: tuple[int, int, int], training: bool, settings: Settings,
    device: str,
) -> Callable[[], object]:  # fmt: skip
    """A layer's forward pass, in training with backward."""
    layout = memory_format(settings)
    layer = build().to(device=device, memory_format=layout)  # type: ignore[call-overload]
    # Inside a network under autocast, feature maps arrive in bf16.
    dtype = torch.bfloat16 if settings != "float32" and has_bf16(device) else torch.float32
    x = torch.randn(maps, *shape, device=device, dtype=dtype).contiguous(memory_format=layout)
    x.requires_grad_(training)
    with torch.no_grad(), autocast(device, settings):
        gradient = torch.randn_like(layer(x))

    def work() -> None:
        with torch.set_grad_enabled(training), autocast(device, settings):
            out = layer(x)
        if training:
            x.grad = None
            layer.zero_grad()
            out.backward(gradient)

    return work
