"""How sure an error rate, and the difference of two rates on the same images, can be."""

from math import sqrt

_Z = 1.959964  # 97.5 % quantile of the normal distribution

Interval = tuple[float, float]


def wilson(wrong: int, count: int) -> Interval:
    """The 95 % Wilson score interval of a rate, in percent.

    Args:
        wrong: images that were misclassified.
        count: all images, at least 1.
    """
    rate, square = wrong / count, _Z**2
    centre = (rate + square / (2 * count)) / (1 + square / count)
    half = _Z / (1 + square / count) * sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    low = 0.0 if wrong == 0 else centre - half  # exact where rounding would leave a trace
    high = 1.0 if wrong == count else centre + half
    return 100 * low, 100 * high


def paired_gain(fixed: int, broken: int, count: int) -> tuple[float, Interval]:
    """How much lower the second of two networks' errors is, in percentage points, and its 95 % interval.

    Both saw the same images, so only those count on which they disagree: the interval is far narrower than
    those of the two rates. Half an image added to either (Agresti and Min, 2005) keeps it honest where few do.

    Args:
        fixed: images that the first got wrong and the second right.
        broken: the other way round.
        count: all images, at least 1.
    """
    b, c, n = fixed + 0.5, broken + 0.5, count + 2
    middle, half = (b - c) / n, _Z * sqrt(b + c - (b - c) ** 2 / n) / n
    return 100 * (fixed - broken) / count, (100 * (middle - half), 100 * (middle + half))
