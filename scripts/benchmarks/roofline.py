"""The machine's peak in multiply-adds a second, by precision: that of a convolution that suits it."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ccnn.measuring.race import Contender
from ccnn.measuring.workload import Settings, autocast
from scripts.benchmarks.networks import Options
from scripts.benchmarks.tables import Cell, Table

COLUMNS = ("settings", "memory format", "time, ms", "quartile 1", "quartile 3", "multiply-adds a second, G")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def peaks(options: Options) -> tuple[dict[Settings, float], Table]:
    """Measures a 3×3 convolution, without gradients, in float32 and as recommended.

    Returns:
        Multiply-adds a second of the faster memory format, by settings, and the measurements.
    """
    batch, channels, side = (2, 16, 8) if options.quick else (32, 256, 16)
    multiply_adds = batch * side**2 * channels**2 * 9

    def prepare(settings: Settings, layout: torch.memory_format) -> Callable[[], object]:
        maps = torch.randn(batch, channels, side, side, device=options.device).contiguous(memory_format=layout)
        weight = torch.randn(channels, channels, 3, 3, device=options.device).contiguous(memory_format=layout)
        with autocast(options.device, settings != "float32"):
            # What the weights and maps of a network are converted to once is not converted in each call.
            dtype = F.conv2d(maps[:1], weight, padding=1).dtype
        maps, weight = maps.to(dtype), weight.to(dtype)

        def work() -> None:
            with torch.no_grad():
                F.conv2d(maps, weight, padding=1)

        return work

    best: dict[Settings, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for settings in ("float32", "recommended"):
        options.say(f"the machine's peak, {settings}")
        timings = options.race(
            [
                Contender(name, lambda settings=settings, layout=layout: prepare(settings, layout))  # type: ignore[misc]
                for name, layout in LAYOUTS.items()
            ]
        )
        for name, timing in timings.items():
            if timing.spread is None:
                continue
            rate = multiply_adds / timing.spread[0]
            best[settings] = max(best.get(settings, 0.0), rate)
            rows.append((settings, name, *(1e3 * t for t in timing.spread), rate / 1e9))
        if settings not in best:
            raise RuntimeError(f"the machine's peak: {next(iter(timings.values())).problem}")
        options.say(f"{best[settings] / 1e9:.4g} G multiply-adds a second")
    best["compiled"] = best["recommended"]
    title = (
        f"The peak: a 3×3 convolution from {channels} to {channels} channels on {batch} maps of {side}×{side}, "
        "without gradients. The faster memory format counts."
    )
    return best, Table("speed_peak", title, COLUMNS, rows)
