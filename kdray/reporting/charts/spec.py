"""What is a chart? Plain data: panels with a common scale, and in them lines, dots, bars, marks.

A number that is not finite cannot be drawn. It is refused here; whoever has such numbers leaves
them out and says so in the caption.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kdray.reporting.charts.looks import PLAIN, Look


@dataclass(frozen=True, slots=True)
class Axis:
    """A direction of the chart.

    Attributes:
        label: the quantity, with its unit.
        is_log: whether equal factors are equally far apart; all values have to be above 0.
        ticks: places and names of the levels; empty: round numbers are found.
        from_zero: whether 0 has to be seen.
    """

    label: str
    is_log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    from_zero: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A value, and the ends of its interval or of its range if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _finite(self.x, self.y, *_known(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together, in ascending order of x.

    Attributes:
        name: written at its end.
        points: the line; low and high are a band around it.
        singles: thin lines of what the line is the mean of.
        whiskers: whether intervals are drawn as strokes instead of a band.
        is_labelled: whether the name is written; hovering tells it anyway.
    """

    name: str
    look: Look
    points: Sequence[Point]
    singles: Sequence[Sequence[Point]] = ()
    whiskers: bool = False
    is_labelled: bool = True


@dataclass(frozen=True, slots=True)
class Dot:
    """A single value with a name: low and high are of y.

    Attributes:
        name: written beside it, if it has a label and there is room.
        told: all that hovering tells, after the name.
        scale: size of the marker; below 0.5 it is one of a cloud of small ones, which tell nothing.
        is_labelled: whether the name is written.
    """

    name: str
    look: Look
    at: Point
    told: str = ""
    scale: float = 1.0
    is_labelled: bool = True


@dataclass(frozen=True, slots=True)
class Bar:
    """How much lies between two values of x, as of a histogram."""

    left: float
    right: float
    height: float
    look: Look = PLAIN

    def __post_init__(self) -> None:
        _finite(self.left, self.right, self.height)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the x axis, such as a crossing, with its interval, which may have no ends.

    Attributes:
        at: a vertical line.
        low: left end of the shaded interval; `-inf`: it has none.
        high: right end; `inf`: it has none.
        sign: one or two characters above the line.
        told: what it means; shown on hovering.
    """

    at: float
    low: float
    high: float
    sign: str
    told: str

    def __post_init__(self) -> None:
        _finite(self.at)
        if math.isnan(self.low) or math.isnan(self.high):
            raise ValueError(f"mark {self.told!r}: the end of an interval is NaN")


@dataclass(frozen=True, slots=True)
class Panel:
    """One frame. All panels of a chart have the same scale."""

    title: str = ""
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    bars: Sequence[Bar] = ()
    marks: Sequence[Mark] = ()
    front: Sequence[Point] = ()  # of a Pareto front, in ascending order of x


@dataclass(frozen=True, slots=True)
class Size:
    """Of a panel, in pixels; text has 12. A page scales it, and text with it.

    Attributes:
        points: of a line, the most that are drawn.
        told: the most places of a panel that tell their numbers.
    """

    width: int
    height: int
    points: int
    told: int


WIDE: Final = Size(480, 300, points=160, told=40)
NARROW: Final = Size(360, 300, points=100, told=24)
SMALL: Final = Size(360, 230, points=48, told=12)


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A figure. Two are equal if they are one.

    Attributes:
        name: of its file, without a suffix.
        title: what it shows, in a few words.
        caption: how it is to be read, in full sentences.
    """

    name: str
    title: str
    caption: str
    x: Axis
    y: Axis
    panels: Sequence[Panel]
    size: Size = WIDE


def pareto(dots: Sequence[Dot], *, less_is_better: bool) -> list[Dot]:
    """The dots that no other one beats in both directions; more y is better. Ascending by x.

    Less is better for sizes and costs, more for speeds.
    """
    sign = 1 if less_is_better else -1
    front: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (sign * dot.at.x, -dot.at.y)):
        if not front or dot.at.y > front[-1].at.y:
            front.append(dot)
    return sorted(front, key=lambda dot: dot.at.x)


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _finite(*values: float) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"chart: {value} cannot be drawn; leave it out, and say so")
