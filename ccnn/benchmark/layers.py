"""Suite `layers`: each multisampling layer against the plain strided layer that does as much work."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ccnn.benchmark.networks import Options
from ccnn.benchmark.tables import Bar, Cell, Result, Table
from ccnn.benchmark.timing import Contender, ratio
from ccnn.benchmark.workload import autocast, has_bf16
from ccnn.multisampling.convolution import CheckeredConv2d
from ccnn.multisampling.pooling import CheckeredAvgPool2d, CheckeredMaxPool2d

COLUMNS = (
    "layer", "input", "submaps", "sampling", "task", "settings", "plain, ms", "multisampling, ms", "ratio",
    "quartile 1", "quartile 3", "note",
)  # fmt: skip

TEXT = (
    "A multisampling layer keeps two positions of each 2×2 window, so it has as much work as the plain strided "
    "layer on twice the images, and that is what it is compared with: time per multiply-add. Pooling layers have "
    "no multiply-adds; equal work is then the same number of windows."
)

LIMIT = 1.15


@dataclass(frozen=True)
class Case:
    """A layer and what reaches it: S·N maps of C×H×W."""

    name: str
    plain: Callable[[], nn.Module]
    checkered: Callable[..., nn.Module]
    shape: tuple[int, int, int]
    images: int
    submaps: int = 1


def _conv(
    shape: tuple[int, int, int],
    images: int,
    submaps: int,
    out_channels: int,
    kernel: int,
    groups: int = 1,
) -> Case:
    options: dict[str, Any] = {"stride": 2, "padding": kernel // 2, "bias": False, "groups": groups}
    return Case(
        f"{kernel}×{kernel}, {shape[0]} → {out_channels}" + (", depthwise" if groups > 1 else ""),
        partial(nn.Conv2d, shape[0], out_channels, kernel, **options),
        partial(CheckeredConv2d, shape[0], out_channels, kernel, **options),
        shape,
        images,
        submaps,
    )


def _pool(
    kind: str, shape: tuple[int, int, int], images: int, submaps: int, kernel: int, ceil_mode: bool = False
) -> Case:
    plain: Any = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
    checkered: Any = CheckeredMaxPool2d if kind == "max" else CheckeredAvgPool2d
    options: dict[str, Any] = {"stride": 2, "padding": kernel // 3, "ceil_mode": ceil_mode}
    return Case(
        f"{kind} pooling {kernel}×{kernel}" + (", rounded up" if ceil_mode else ""),
        partial(plain, kernel, **options),
        partial(checkered, kernel, **options),
        shape,
        images,
        submaps,
    )


CASES = [
    _conv((64, 32, 32), 32, 1, 128, 3),
    _conv((256, 8, 8), 32, 4, 512, 3),
    _conv((64, 32, 32), 32, 1, 128, 1),
    _conv((256, 8, 8), 32, 4, 512, 1),
    _conv((3, 224, 224), 4, 1, 64, 7),
    _conv((96, 56, 56), 4, 2, 96, 3, groups=96),
    _pool("max", (64, 32, 32), 32, 1, 2),
    _pool("max", (256, 8, 8), 32, 4, 2, ceil_mode=True),
    _pool("max", (64, 112, 112), 4, 2, 3),
    _pool("average", (48, 32, 32), 32, 1, 2, ceil_mode=True),
    _pool("average", (128, 28, 28), 4, 4, 2),
]
"""What the benchmark's networks have."""


def run(options: Options) -> Result:
    """Measures the layers one after another."""
    rows: list[tuple[Cell, ...]] = []
    bars: list[Bar] = []
    for case, sampling in product(CASES, ("naive", "lattice")):
        if sampling == "lattice" and case.submaps == 1:
            continue  # the first step of the lattice is the naive one
        images = 1 if options.quick else case.images
        shape = (case.shape[0], 8, 8) if options.quick else case.shape
        size = "×".join(map(str, shape))
        options.say(f"{case.name} on {size}, {sampling}")
        for training, recommended in product((False, True), repeat=2):
            common = (shape, training, recommended, options.device)
            layer = partial(case.checkered, submaps=case.submaps, sampling=sampling)
            timings = options.race(
                [
                    Contender("plain", _Run(case.plain, 2 * images * case.submaps, *common)),
                    Contender("checkered", _Run(layer, images * case.submaps, *common)),
                ]
            )
            plain, checkered = timings["plain"], timings["checkered"]
            task = "forward and backward" if training else "forward"
            settings = "recommended" if recommended else "float32"
            found, note = ratio(checkered, plain), plain.note or checkered.note
            times = [1e3 * timing.spread[0] if timing.spread else None for timing in (plain, checkered)]
            about = (case.name, size, case.submaps, sampling, task, settings)
            rows.append((*about, *times, *(found or (None, None, None)), note))
            name = f"{case.name} on {size}, {case.submaps} submaps, {sampling}, {settings}"
            bars.append(Bar(name, f"multisampling : plain, time of equal work, {task}", found, LIMIT, note=note))
    table = Table("layers", "The measurements.", COLUMNS, rows)
    return Result("layers", "The layers by themselves", TEXT, [table], bars)


@dataclass(frozen=True)
class _Run:
    """Prepares a layer's forward pass, or forward and backward."""

    build: Callable[[], nn.Module]
    maps: int
    shape: tuple[int, int, int]
    training: bool
    recommended: bool
    device: str

    def __call__(self) -> Callable[[], object]:
        layout = torch.channels_last if self.recommended else torch.contiguous_format
        layer = self.build().to(device=self.device, memory_format=layout)  # type: ignore[call-overload]
        # Within a network under autocast, maps are in bf16 already.
        dtype = torch.bfloat16 if self.recommended and has_bf16(self.device) else torch.float32
        x = torch.randn(self.maps, *self.shape, device=self.device, dtype=dtype).contiguous(memory_format=layout)
        x.requires_grad_(self.training)
        with torch.no_grad(), self._precision():
            gradient = torch.randn_like(layer(x))

        def work() -> None:
            with torch.set_grad_enabled(self.training), self._precision():
                out: Tensor = layer(x)
            if self.training:
                x.grad = None
                layer.zero_grad()
                out.backward(gradient)

        return work

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.recommended)
