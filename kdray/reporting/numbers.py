"""Numbers and lists as text, the same way everywhere in a report."""

from collections.abc import Sequence

NOTHING = "–"


def signed(points: float) -> str:
    """Metric points with a sign, as in `+0.84`; what rounds to zero has no sign."""
    rounded = f"{abs(points):.2f}"
    sign = "" if float(rounded) == 0 else "+" if points > 0 else "−"
    return f"{sign}{rounded}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, or `<0.001`."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(number: float | None) -> str:
    """A large number in three digits, as in `12.3 M`."""
    if number is None:
        return NOTHING
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, as in `a, b and c`; empty without any."""
    if not names:
        return ""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
