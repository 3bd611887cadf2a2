"""What is said when a converted network breaks: where, why, and a setting that is known to convert it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..samplers import Sampling
from .meta import IMAGES, ConversionError, Watch, gist


class DisagreementError(ConversionError):
    """Two branches of a network that meet have different numbers of submaps.

    Args:
        message: what happened.
        layer: the layer that made them differ.
        before: the layers that yield no more submaps than the other branch has.
    """

    def __init__(self, message: str, layer: str, before: Sequence[str]) -> None:
        super().__init__(message)
        self.layer, self.before = layer, before


@contextmanager
def explained(
    watch: Watch, yields: Callable[[], dict[str, int]], traditional: Callable[[], str]
) -> Iterator[None]:
    """Turns whatever breaks in a converted network into an error that says where and what to do.

    Args:
        watch: of the network.
        yields: the multisampling layers that have run and the submaps they yield, in order.
        traditional: the layers that stay as they are, and why.
    """
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        where = next((repr(name) for name in reversed(watch.active) if name), "the model's own forward")
        start = f"convert: the converted network breaks in {where}:"
        end = f"Layers that stay traditional: {traditional()}."
        found = _disagreement(str(error), yields())
        if found is None:
            reason = (
                f"{gist(error)}. A forward that reshapes by the batch size of its input (x.size(0)) does not fit "
                "submaps; x.flatten(1) does."
            )
            raise ConversionError(f"{start} {reason} {end}") from error
        reason, layer, before = found
        raise DisagreementError(f"{start} {reason} {end}", layer, before) from error


_TWO_SIZES = (
    r"length (\d+) at .*broadcastable to \[(\d+)",
    r"Expected (?:size )?(\d+) .*but got (?:size )?(\d+)",
    r"tensor a \((\d+)\) must match .*tensor b \((\d+)\)",
)
"""How torch says that two batches differ."""


def _disagreement(message: str, yields: dict[str, int]) -> tuple[str, str, list[str]] | None:
    """Which layers made two branches disagree in submaps; None if the message is not about that."""
    found = next(filter(None, (re.search(pattern, message, re.DOTALL) for pattern in _TWO_SIZES)), None)
    (fewer, _), (more, rest) = sorted(divmod(int(n), IMAGES) for n in found.groups()) if found else [(0, 0)] * 2
    last = {submaps: name for name, submaps in yields.items()}
    if rest or fewer == more or more not in last or fewer not in {1, *last}:
        return None
    before = [name for name, submaps in yields.items() if submaps <= fewer]
    origin = f"come from {last[fewer]!r}" if fewer > 1 else "are the input's"
    reason = f"branches of {fewer} and {more} submaps meet. The {fewer} {origin}, the {more} from {last[more]!r}."
    return reason, last[more], before


_ROUNDS = 6


def remedy(error: DisagreementError, sampling: Sampling, attempt: Callable[[Sampling], object]) -> str:
    """Looks for a setting that converts the network after all, and says so; in general terms if there is none.

    First it leaves the layer traditional that made two branches differ, with all that are called alike; then
    it converts only what comes before the branches part.

    Args:
        error: what went wrong.
        sampling: as asked for.
        attempt: plans the conversion with another sampling, raises a ConversionError where it cannot.
    """
    skip, found = tuple(sampling.skip), error
    for _ in range(_ROUNDS):
        skip = (*skip, _alike(found.layer))
        outcome = _try(replace(sampling, skip=skip), attempt)
        if outcome is None:
            return f"This converts it: sampling.skip=[{','.join(skip)}]."
        if not isinstance(outcome, DisagreementError) or _alike(outcome.layer) in skip:
            break
        found = outcome
    only = tuple(error.before)
    while only:
        outcome = _try(replace(sampling, only=only, skip=()), attempt)
        if outcome is None:
            return f"This converts it: sampling.only=[{','.join(only)}]."
        shorter = tuple(outcome.before) if isinstance(outcome, DisagreementError) else ()
        only = shorter if len(shorter) < len(only) else only[:-1]
    return (
        "No layers were found that could be left traditional so that the rest converts: where branches meet, each "
        "must subsample by layers that can be converted."
    )


def _try(sampling: Sampling, attempt: Callable[[Sampling], object]) -> ConversionError | None:
    try:
        attempt(sampling)
    except ConversionError as error:
        return error
    return None


def _alike(layer: str) -> str:
    """A glob for the layers whose name ends as this one's: `blocks.0.ghost.pool2d[0]` → `*.ghost.pool2d*`."""
    words = [part for part in re.sub(r"\[\d+\]$", "*", layer).split(".") if not part.isdigit()]
    return f"*.{'.'.join(words[-2:])}" if len(words) > 2 else layer
