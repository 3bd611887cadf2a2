"""The machine's peak in multiply-adds a second, by precision: that of convolutions that suit it."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ccnn.benchmark.networks import Options
from ccnn.benchmark.tables import Cell, Table
from ccnn.benchmark.timing import Contender
from ccnn.benchmark.workload import Settings, autocast

COLUMNS = (
    "settings", "channels", "maps", "memory format", "time, ms", "quartile 1", "quartile 3",
    "multiply-adds a second at its fastest, G",
)  # fmt: skip
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SIZES = ((64, 32), (128, 16), (256, 16), (512, 8))
"""Channels, and height and width of the maps: those of ResNets, with as much work or more."""


def peaks(options: Options) -> tuple[dict[Settings, float], Table]:
    """Measures 3×3 convolutions, without gradients, in float32 and as recommended.

    A peak is a maximum, and whatever disturbs a measurement makes it slower: so the fastest round counts.

    Returns:
        The most multiply-adds a second, by settings, and the measurements.
    """
    batch, sizes = (2, ((16, 8),)) if options.quick else (32, SIZES)
    cases = {
        f"{channels} channels, {side}×{side}, {name}": (channels, side, name)
        for channels, side in sizes
        for name in LAYOUTS
    }
    best: dict[Settings, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for settings in ("float32", "recommended"):
        options.say(f"the machine's peak, {settings}")
        timings = options.race(
            [Contender(name, _prepared(options.device, settings, batch, *case)) for name, case in cases.items()]
        )
        for name, timing in timings.items():
            if timing.spread is None:
                continue
            channels, side, layout = cases[name]
            rate = batch * side**2 * channels**2 * 9 / min(timing.seconds)
            best[settings] = max(best.get(settings, 0.0), rate)
            spread = (1e3 * seconds for seconds in timing.spread)
            rows.append((settings, channels, f"{side}×{side}", layout, *spread, rate / 1e9))
        if settings not in best:
            raise RuntimeError(f"the machine's peak: {next(iter(timings.values())).problem}")
        options.say(f"{best[settings] / 1e9:.4g} G multiply-adds a second")
    best["compiled"] = best["recommended"]
    title = (
        f"The peak: 3×3 convolutions with as many channels out as in, on {batch} maps, without gradients. The "
        "fastest round of all counts, or that of a network where it was faster still."
    )
    return best, Table("speed_peak", title, COLUMNS, rows)


def _prepared(
    device: str, settings: Settings, batch: int, channels: int, side: int, layout: str
) -> Callable[[], Callable[[], object]]:
    def prepare() -> Callable[[], object]:
        memory_format = LAYOUTS[layout]
        maps = torch.randn(batch, channels, side, side, device=device).contiguous(memory_format=memory_format)
        weight = torch.randn(channels, channels, 3, 3, device=device).contiguous(memory_format=memory_format)
        with autocast(device, settings != "float32"):
            # What the weights and maps of a network are converted to once is not converted in each call.
            dtype = F.conv2d(maps[:1], weight, padding=1).dtype
        maps, weight = maps.to(dtype), weight.to(dtype)

        def work() -> None:
            with torch.no_grad():
                F.conv2d(maps, weight, padding=1)

        return work

    return prepare
