"""Numbers as people read them."""


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(1.234), signed(-0.5), signed(-0.001)
    ('+1.23', '−0.50', '0.00')
    """
    text = f"{value:+.2f}".replace("-", "−")
    return text[1:] if text[1:] == "0.00" else text


def setting(value: object) -> str:
    """A value of a config.

    >>> setting(50_000), setting(0.1), setting("paper"), setting(True), setting(None)
    ('50,000', '0.1', 'paper', 'true', 'none')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def plus_minus(mean: float, std: float | None, n: int, with_sign: bool = False, of: int = 0) -> str:
    """A mean with its standard deviation, if there is one, and the number of values, of how many if that is more.

    >>> plus_minus(12.3456, 0.2, 3), plus_minus(0.5, None, 1, with_sign=True), plus_minus(5.0, 0.1, 2, of=3)
    ('12.35 ± 0.20 (3)', '+0.50 (1)', '5.00 ± 0.10 (2 of 3)')
    """
    text = signed(mean) if with_sign else f"{mean:.2f}"
    count = f"({n} of {of})" if of > n else f"({n})"
    return f"{text} ± {std:.2f} {count}" if std is not None else f"{text} {count}"


def times(ratio: float | None) -> str:
    """A ratio: 3.2 is 3.20 ×."""
    return f"{ratio:.2f} ×" if ratio is not None else ""


def quantity(value: float | None) -> str:
    """A large number with three digits and a unit.

    >>> quantity(556_000_000), quantity(2.4e9)
    ('556 M', '2.40 G')
    """
    if value is None:
        return ""
    unit, name = next(((u, n) for u, n in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= u), (1.0, ""))
    return f"{value / unit:#.3g}".rstrip(".") + name


def duration(seconds: float | None) -> str:
    """A time in one short word: 80 minutes are 1.3 h."""
    if seconds is None:
        return ""
    unit, name = next(((u, n) for u, n in ((3600, "h"), (60, "min")) if seconds >= u), (1, "s"))
    return f"{seconds / unit:.1f} {name}"
