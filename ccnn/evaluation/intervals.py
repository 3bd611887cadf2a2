"""95 % intervals of an error rate, and of the difference of two rates on the same images."""

from math import sqrt

from scipy.stats import binomtest, norm

_Z = float(norm.ppf(0.975))


def wilson(wrong: int, count: int) -> list[float]:
    """Wilson's 95 % score interval of an error rate, in percent.

    Args:
        wrong: misclassified images.
        count: all images, at least 1.

    Example:
        >>> [round(bound, 2) for bound in wilson(wrong=20, count=1000)]
        [1.3, 3.07]

    """
    interval = binomtest(wrong, count).proportion_ci(0.95, "wilson")
    return [100 * float(interval.low), 100 * float(interval.high)]


def paired_gain(fixed: int, broken: int, count: int) -> tuple[float, list[float]]:
    """How much lower the second of two error rates is, in percentage points, and its 95 % interval.

    Only images on which the two networks disagree matter, so the interval is narrower than those of the rates.
    Half an image is added to each kind (Agresti and Min, 2005): the plain interval is too short where few differ.

    Args:
        fixed: images that the first network got wrong and the second right.
        broken: the reverse.
        count: all images, at least 1.

    Example:
        >>> gain, (low, high) = paired_gain(fixed=30, broken=20, count=1000)
        >>> f"{gain:.2f} [{low:.2f} … {high:.2f}]"
        '1.00 [-0.40 … 2.39]'

    """
    b, c, n = fixed + 0.5, broken + 0.5, count + 2
    middle, half = (b - c) / n, _Z * sqrt(b + c - (b - c) ** 2 / n) / n
    return 100 * (fixed - broken) / count, [100 * (middle - half), 100 * (middle + half)]
