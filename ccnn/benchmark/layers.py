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

_CHECKERED: dict[type[nn.Module], Any] = {
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

    def build(self, **multisampling: Any) -> nn.Module:
        """The plain layer, or with `submaps` and `sampling` the multisampling one."""
        layer: nn.Module = (_CHECKERED[self.layer] if multisampling else self.layer)(
            stride=2, **self.arguments, **multisampling
        )
        return layer


def _conv(c: int, out: int, kernel: int, groups: int = 1) -> dict[str, Any]:
    return {
        "in_channels": c, "out_channels": out, "kernel_size": kernel, "padding": kernel // 2, "bias": False,
        "groups": groups,
    }  # fmt: skip


CASES = (
    Case("3×3, 64 → 128", nn.Conv2d, _conv(64, 128, 3), (64, 32, 32), 32),
    Case("3×3, 256 → 512", nn.Conv2d, _conv(256, 512, 3), (256, 8, 8), 32, 4),
    Case("1×1, 64 → 128", nn.Conv2d, _conv(64, 128, 1), (64, 32, 32), 32),
    Case("1×1, 256 → 512", nn.Conv2d, _conv(256, 512, 1), (256, 8, 8), 32, 4),
    Case("7×7, 3 → 64", nn.Conv2d, _conv(3, 64, 7), (3, 224, 224), 4),
    Case("3×3, 96 → 96, depthwise", nn.Conv2d, _conv(96, 96, 3, groups=96), (96, 56, 56), 4, 2),
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
        for training, settings in product((False, True), SETTINGS):
            common = (shape, training, settings, options.device)
            checkered = partial(case.build, submaps=case.submaps, sampling=sampling)
            timings = interleave(
                [
                    Candidate("plain", partial(_prepare, case.build, 2 * images * case.submaps, *common)),
                    Candidate("multisampling", partial(_prepare, checkered, images * case.submaps, *common)),
                ],
                options.limits,
            )
            (_, plain, _), (_, ours, _) = timings["plain"].quartiles, timings["multisampling"].quartiles
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
    build: Callable[[], nn.Module],
    maps: int,
    shape: tuple[int, int, int],
    training: bool,
    settings: Settings,
    device: str,
) -> Callable[[], object]:
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
