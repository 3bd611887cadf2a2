"""Numbers as texts of a table; nothing for a missing number."""

from collections.abc import Sequence

import pandas as pd

Number = float | None


def fixed(value: Number, digits: int = 2) -> str:
    """A number with fixed digits.

    >>> fixed(1.234), fixed(None)
    ('1.23', '')
    """
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def signed(value: Number) -> str:
    """A difference with its sign.

    >>> signed(1.234), signed(-0.5), signed(-0.001)
    ('+1.23', '−0.50', '0.00')
    """
    text = "" if pd.isna(value) else f"{value:+.2f}".replace("-", "−")
    return text[1:] if text[1:] == "0.00" else text


def interval(bounds: Sequence[Number] | None, sign: bool = True) -> str:
    """An interval; nothing if a bound is missing.

    >>> interval((-0.5, 1)), interval([1.0, 2.0], sign=False), interval(None)
    ('[−0.50 … +1.00]', '[1.00 … 2.00]', '')
    """
    if bounds is None or pd.isna(bounds[0]):
        return ""
    low, high = (signed(bound) if sign else fixed(bound) for bound in bounds)
    return f"[{low} … {high}]"


def plus_minus(mean: Number, std: Number, n: int, sign: bool = False, of: int = 0) -> str:
    """A mean with its standard deviation and the number of values, out of how many if some are missing.

    >>> plus_minus(12.3456, 0.2, 3), plus_minus(0.5, None, 1, sign=True), plus_minus(5.0, 0.1, 2, of=3)
    ('12.35 ± 0.20 (3)', '+0.50 (1)', '5.00 ± 0.10 (2 of 3)')
    """
    if pd.isna(mean):
        return ""
    spread = "" if pd.isna(std) else f" ± {std:.2f}"
    return f"{signed(mean) if sign else fixed(mean)}{spread} ({n:.0f}{f' of {of}' if of > n else ''})"


def times(ratio: Number) -> str:
    """A ratio: 3.2 is 3.20 ×."""
    return "" if pd.isna(ratio) else f"{ratio:.2f} ×"


def quantity(value: Number) -> str:
    """A large number with three digits and a unit.

    >>> quantity(556_000_000), quantity(2.4e9), quantity(12)
    ('556 M', '2.40 G', '12.0')
    """
    if value is None or pd.isna(value):
        return ""
    unit, name = next(((u, n) for u, n in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= u), (1.0, ""))
    return f"{value / unit:#.3g}".rstrip(".") + name


def duration(seconds: Number) -> str:
    """A time in one short word.

    >>> duration(4800), duration(90), duration(1.12)
    ('1.3 h', '1.5 min', '1.1 s')
    """
    if seconds is None or pd.isna(seconds):
        return ""
    unit, name = next(((u, n) for u, n in ((3600, "h"), (60, "min")) if seconds >= u), (1, "s"))
    return f"{seconds / unit:.1f} {name}"


def setting(value: object) -> str:
    """A value of a config.

    >>> setting(50_000), setting(0.1), setting("paper"), setting(True), setting(None)
    ('50,000', '0.1', 'paper', 'true', 'none')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)
