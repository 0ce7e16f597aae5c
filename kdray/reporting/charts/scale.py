"""Where does a value lie in a chart, and which round numbers stand beside the axis?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kdray.reporting.charts.spec import Axis

Ticks = tuple[tuple[float, str], ...]  # places, ascending, and what is written there
_PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels along one axis.

    Attributes:
        low: the value at `start`.
        high: the value at `end`.
        start: pixel of the lowest value; of a vertical axis the larger one.
        end: pixel of the highest value.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool
    ticks: Ticks

    def __call__(self, value: float) -> float:
        """The pixel of a value; one outside the scale lies outside the frame."""
        share = (self._even(value) - self._even(self.low)) / (
            self._even(self.high) - self._even(self.low)
        )
        return self.start + share * (self.end - self.start)

    def _even(self, value: float) -> float:
        return math.log(value) if self.is_log else value


def scale_of(
    values: Sequence[float], axis: Axis, *, start: float, end: float, num_ticks: int = 6
) -> Scale:
    """A scale on which all values can be seen: it begins and ends with a tick.

    Where levels have names there are no others, and it reaches a little past the outer ones.

    Raises:
        ValueError: the axis is logarithmic, and a value is not above 0.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if axis.is_log and low <= 0:
        raise ValueError(f"{axis.label}: {low:g} has no place on a logarithmic axis")
    if axis.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    low, high = _apart(low, high, is_log=axis.is_log)
    if axis.ticks:
        low, high = _margins(low, high, is_log=axis.is_log)
        return Scale(low, high, start, end, axis.is_log, tuple(sorted(axis.ticks)))
    ticks = log_ticks(low, high) if axis.is_log else even_ticks(low, high, num_ticks)
    return Scale(min(low, ticks[0][0]), max(high, ticks[-1][0]), start, end, axis.is_log, ticks)


def even_ticks(low: float, high: float, wanted: int = 6) -> Ticks:
    """Round numbers from one at or below `low` to one at or above `high`, about as many as wanted.

    Steps are 1, 2, 2.5 or 5 times a power of ten (Heckbert 1990, "Nice numbers for graph labels").
    """
    rough = (high - low) / max(1, wanted - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = [number * step for number in range(first, last + 1)]
    return tuple(zip(places, _even_names(places, step), strict=True))


def log_ticks(low: float, high: float) -> Ticks:
    """Powers of ten, or 1, 2, 5 times these where they span less than three powers."""
    bottom, top = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    factors = (1,) if top - bottom > 3 else (1, 2, 5)
    stride = max(1, (top - bottom) // 6)
    places = [
        factor * 10.0**power
        for power in range(bottom - stride, top + stride + 1, stride)
        for factor in factors
    ]
    first = max(place for place in places if place <= low * (1 + 1e-9))
    last = min(place for place in places if place >= high * (1 - 1e-9))
    return tuple((place, _short(place)) for place in places if first <= place <= last)


def shown(value: float) -> str:
    """A value in four digits, as a reader hovers over it; large ones as `12.3 M`."""
    for unit, prefix in _PREFIXES:
        if abs(value) >= unit * 9.9995:
            return f"{value / unit:.4g}{prefix}".replace("-", "−")
    text = f"{value:.0f}" if value == round(value) else f"{value:#.4g}"
    text = text if "e" not in text else f"{value:.2g}"
    return text.replace("-", "−") if float(text) else "0"


def _short(value: float) -> str:
    """A round number of one digit, as `5 k`."""
    unit, prefix = next(((unit, prefix) for unit, prefix in _PREFIXES if value >= unit), (1.0, ""))
    return f"{value / unit:.6g}{prefix}"


def _even_names(places: Sequence[float], step: float) -> list[str]:
    """All with the same decimals, and with one prefix for all."""
    most = max(map(abs, places))
    unit, prefix = next(
        ((unit, prefix) for unit, prefix in _PREFIXES if most >= unit * 9.9995), (1.0, "")
    )
    if most and most < 1e-3:
        return [f"{place:.2g}".replace("-", "−") if place else "0" for place in places]
    exact = f"{step / unit:.10f}".rstrip("0")
    decimals = len(exact) - exact.index(".") - 1
    texts = [f"{place / unit:.{decimals}f}" for place in places]
    return [text.replace("-", "−") + prefix if float(text) else "0" for text in texts]


def _apart(low: float, high: float, *, is_log: bool) -> tuple[float, float]:
    """The ends, moved apart if they are one value but for rounding."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    if is_log:
        return low / 2, high * 2
    half = max(abs(low) * 0.05, 1e-6) if low else 0.5
    return low - half, high + half


def _margins(low: float, high: float, *, is_log: bool) -> tuple[float, float]:
    if is_log:
        factor = (high / low) ** 0.06
        return low / factor, high * factor
    return low - 0.06 * (high - low), high + 0.06 * (high - low)
