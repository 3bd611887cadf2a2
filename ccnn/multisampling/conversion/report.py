"""The report of a conversion."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..samplers import Assignment, Sampling
from .meta import InputSize


@dataclass(frozen=True)
class ConvertedLayer:
    """One layer that keeps several positions of each window.

    Attributes:
        name: of the module in the network, or of the function that it calls.
        kind: the class it had before, or `functional`.
        stride: side of the window.
        submaps: submaps it receives and yields.
        size: height and width of each submap it yields, in pixels, for the report's input size.
    """

    name: str
    kind: str
    stride: int
    submaps: tuple[int, int]
    size: tuple[int, ...]


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did to a network; `str()` gives it in a few lines.

    Attributes:
        sampling: the sampling method.
        input_size: (C, H, W) of the dry run; (0, 0, 0) if the network takes no batch of images.
        layers: the multisampling layers, in the order of the network.
        steps: stride and assignment of each level, as `ccnn.multisampling.submaps.offsets` takes them.
        joint: layers and functions that see all submaps of a feature map at once.
        traditional: what stayed as it was though one might expect otherwise, and why.
        merge: where the submaps are averaged: modules, at their input; functions; `output` for the network's
            outputs. Empty where a layer across submaps has left one only.
        submaps: the number of submaps that are merged.
    """

    sampling: Sampling
    input_size: InputSize
    layers: tuple[ConvertedLayer, ...]
    steps: tuple[tuple[int, Assignment], ...] = ()
    joint: tuple[str, ...] = ()
    traditional: dict[str, str] = field(default_factory=dict)
    merge: tuple[str, ...] = ()
    submaps: int = 1

    def __str__(self) -> str:
        count = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        lines = [f"{count} converted, sampling={self.sampling}, input {_size(self.input_size)}"]
        levels: dict[tuple[Any, ...], list[str]] = {}
        for layer in self.layers:
            levels.setdefault((*layer.submaps, layer.size, layer.stride), []).append(layer.name or "(the model)")
        lines += [
            f"  submaps {before} → {after}, each {_size(size)}, stride {stride}: {', '.join(names)}"
            for (before, after, size, stride), names in levels.items()
        ]
        if self.joint:
            lines.append(f"  see all submaps at once: {', '.join(self.joint)}")
        lines += [f"  left traditional: {name or '(the model)'} ({why})" for name, why in self.traditional.items()]
        for name in self.merge:
            place = "the network's output" if name == "output" else f"the input of {name!r}"
            lines.append(f"  {self.submaps} submaps merged at {place}")
        return "\n".join(lines)


def conversion_report(model: nn.Module) -> ConversionReport:
    """What `convert` did to the model.

    Raises:
        ValueError: if the model was not converted.

    Example:
        >>> import ccnn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(2048, 10))
        >>> print(conversion_report(ccnn.convert(model, (3, 32, 32))))
        1 layer converted, sampling=naive, input 3×32×32
          submaps 1 → 2, each 16×16, stride 2: 0
          2 submaps merged at the input of '2'
    """
    report = getattr(model, "_conversion", None)
    if not isinstance(report, ConversionReport):
        raise ValueError("conversion_report: this model was not converted; call ccnn.convert(model, …) first")
    return report


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
