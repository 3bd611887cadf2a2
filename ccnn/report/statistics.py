"""Mean, spread and confidence of a few seeds, and of the gain between two networks trained with the same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev


@dataclass(frozen=True)
class Summary:
    """What a sample tells.

    Args:
        mean: of the sample.
        std: sample standard deviation (n − 1 below the line); None for a single value.
        n: number of values.
        interval: 95 % confidence interval of the mean; None for fewer than 3 values, too few to tell.
    """

    mean: float
    std: float | None
    n: int
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Gain:
    """How much lower one network's error is than another's, in percentage points.

    Args:
        summary: over the seeds that both have; None if they share none.
        difference: the mean gain, that of the pairs if there are any, else the difference of the two means.
    """

    summary: Summary | None
    difference: float


def summarise(values: Sequence[float]) -> Summary:
    """Summarises at least one value."""
    mean, n = fmean(values), len(values)
    std = stdev(values) if n > 1 else None
    if std is None or n < 3:
        return Summary(mean, std, n, None)
    half = student(n - 1) * std / sqrt(n)
    return Summary(mean, std, n, (mean - half, mean + half))


def gain(before: Mapping[int, float], after: Mapping[int, float]) -> Gain:
    """Compares two networks' errors, pairing them by seed where they share any.

    Equal seeds mean equal initial weights, batches and augmentation, so the pairs' differences vary less
    than the errors do.

    Args:
        before: for each seed the error of the network that is compared with, in percent; at least one.
        after: for each seed the other's; at least one.
    """
    pairs = [before[seed] - after[seed] for seed in sorted(before.keys() & after.keys())]
    if not pairs:
        return Gain(None, fmean(before.values()) - fmean(after.values()))
    summary = summarise(pairs)
    return Gain(summary, summary.mean)


def student(degrees: int) -> float:
    """The 97.5 % quantile of Student's t distribution."""
    from scipy.special import stdtrit  # scikit-learn brings it; imported here because it takes a third of a second

    return float(stdtrit(degrees, 0.975))
