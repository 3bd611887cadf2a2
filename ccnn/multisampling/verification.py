"""verify(): a seeded numeric check that a converted network does what conversion promises."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from .base import Multisampling
from .comparison import TOLERANCE, calls_of, relative, small_images, stand_in
from .conversion import ConversionReport, conversion_report
from .conversion.meta import ConversionError
from .dilation import plan_and_check
from .network_calls import make_plain


@dataclass(frozen=True)
class Check:
    """One promise that was checked.

    Attributes:
        promise: what must hold.
        compared: what was compared, or why nothing was.
        difference: the largest difference, relative to the largest value; None if nothing was compared.
    """

    promise: str
    compared: str
    difference: float | None = None

    def __str__(self) -> str:
        result = "not checked" if self.difference is None else f"difference {self.difference:.0e}"
        return f"{self.promise}: {result} ({self.compared})"


@dataclass(frozen=True)
class Verification:
    """What `verify` compared; `print` shows a line per promise."""

    checks: tuple[Check, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))


def verify(model: nn.Module) -> Verification:
    """Checks a converted network numerically: for a network that is spelled in a way conversion may not know.

    A copy runs in float64 on the CPU, in evaluation, with random weights from a fixed seed; convolutions get as
    many groups as their channels allow, so that it takes seconds. The model is not changed. Three promises:

    - The outputs of an image do not depend on the other images of its batch.
    - The first submap is the plain network's feature map, as far as no layer has seen all submaps at once.
    - The plain network converted with `complete` equals its dilated form, if `ccnn.dilate` takes it.

    Args:
        model: a converted network.

    Returns:
        What was compared, and how large the differences were. Promises that do not apply say why.

    Raises:
        ConversionError: if a promise is broken; it names the layer.
        ValueError: if the model is not converted.

    Example:
        >>> import ccnn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> verification = verify(ccnn.convert(model, (3, 16, 16)))
        >>> [check.difference < 1e-12 for check in verification.checks[:2]]
        [True, True]
    """
    report = conversion_report(model)
    with torch.random.fork_rng(devices=[]):
        converted = stand_in(model)
        plain = copy.deepcopy(converted, {id(parameter): parameter for parameter in converted.parameters()})
        make_plain(plain)
        x = small_images(plain, report.input_size, prod(stride for stride, _ in report.steps))
        return Verification(
            (_independent(converted, x), _first_submap(converted, plain, x, report), _complete(plain, report))
        )


def _independent(model: nn.Module, x: Tensor) -> Check:
    promise = "images are independent of each other"
    (together,) = calls_of(model, x, root_only=True)
    alone = [calls_of(model, image, root_only=True)[0].returned for image in x.split(1)]
    differences = []
    for output, *singles in zip(together.returned, *alone, strict=True):
        if output.shape[:1] != x.shape[:1]:
            return Check(promise, f"an output of {tuple(output.shape)} has no row for each of {len(x)} images")
        differences.append(relative(output, torch.cat(singles)))
    largest = max(differences, default=0.0)
    if largest > TOLERANCE:
        raise ConversionError(f"verify: the output of an image changes by {largest:.1g} with its batch")
    return Check(promise, f"{len(x)} images of {x.shape[2]}×{x.shape[3]}, together and one by one", largest)


def _first_submap(converted: nn.Module, plain: nn.Module, x: Tensor, report: ConversionReport) -> Check:
    promise = "the first submap is the plain network's map"
    layers = [module for module in converted.modules() if isinstance(module, Multisampling)]
    if any(layer.placement.samplers[0][0] != (0, 0) for layer in layers):
        return Check(promise, f"sampling={report.sampling.name} keeps another position first")
    largest, compared = 0.0, []
    for name, submap, expected in _maps(converted, plain, x, report):
        difference = relative(submap, expected)
        largest = max(largest, difference)
        compared.append(name)
        if difference > TOLERANCE:
            raise ConversionError(
                f"verify: the first submap of {name!r} differs from the plain network's map by {difference:.1g}"
            )
    if not compared:
        return Check(promise, "all submaps are seen at once from the beginning")
    return Check(
        promise, f"the maps of {len(compared)} calls, the last of {compared[-1] or 'the model'!r}", largest
    )


def _maps(
    converted: nn.Module, plain: nn.Module, x: Tensor, report: ConversionReport
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The first submap and the plain map of each call, up to the first that sees all submaps."""
    modules = dict(plain.named_modules())
    # A reduction in a module's own forward has the module's name before its own.
    joint = {name if name in modules else name.rpartition(".")[0] for name in report.joint} - {""}
    for folded, alone in zip(calls_of(converted, x), calls_of(plain, x), strict=True):
        if any(folded.name == name or folded.name.startswith(f"{name}.") for name in joint):
            return
        for submaps, expected in zip(folded.returned, alone.returned, strict=True):
            if submaps.ndim == 4 and len(submaps) > len(expected):
                yield folded.name, submaps[: len(expected)], expected


def _complete(plain: nn.Module, report: ConversionReport) -> Check:
    promise = "complete multisampling equals dilation"
    try:
        _, difference = plan_and_check(plain, report.input_size)
    except ConversionError as error:
        return Check(promise, str(error))
    return Check(promise, "outputs of the plain network's two forms", difference)
