"""Where on an axis do two methods change places, and how sure is that?

Between neighbouring levels the advantage is taken to be a straight line, so it is known everywhere
between the lowest and the highest level, with its error: at each place it is a contrast of the two
levels beside it. Nothing is said of places beyond the levels.

The interval holds every place where the advantage cannot be told from 0 at the 5 % level. It holds
a true crossing in 95 % of studies, since the test at its place errs in 5 % (inversion of a test,
after Fieller 1954, who did so for one straight line). As with Fieller's, it can be unbounded: if
the advantage cannot be told from 0 at an end of the axis, the crossing may lie beyond that end. And
it can be empty: then one method is ahead all along the axis.

That the methods do change places is claimed only if each is ahead somewhere: the range test of
Piantadosi & Gail (1993) for crossing interactions, with Bonferroni's bound over the levels.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf

from scipy import optimize

from kdray.statistics.axis import Advantage
from kdray.statistics.contrast import Comparison, Estimate
from kdray.statistics.multiplicity import LEVEL

_STEPS = 12  # places that are looked at between two levels before an end is searched for


class Shown(StrEnum):
    """Whether two methods change places along an axis."""

    CHANGE = "change places"
    KEEP = "one is ahead all along the axis"
    OPEN = "open"


@dataclass(frozen=True)
class Crossing:
    """The place where the advantage of a method over a baseline is 0."""

    at: tuple[float, ...]  # where the means cross, ascending: none, one, or several
    low: float | None  # ends of the 95 % interval; None: it is empty, there is no crossing
    high: float | None
    p: float  # that each method is ahead somewhere; not corrected
    ahead_below: bool  # whether the method, and not the baseline, has the higher mean at the start

    @property
    def shown(self) -> Shown:
        """What is shown: that they change places, that they do not, or neither."""
        if self.low is None:
            return Shown.KEEP
        return Shown.CHANGE if self.p < LEVEL else Shown.OPEN

    @property
    def bounded_below(self) -> bool:
        """Whether the interval ends before the lowest level."""
        return self.low is not None and self.low > -inf

    @property
    def bounded_above(self) -> bool:
        """Whether the interval ends before the highest level."""
        return self.high is not None and self.high < inf


def crossing(advantage: Advantage) -> Crossing:
    """Find where two methods cross along an axis. With several crossings the interval spans all."""
    places = advantage.places
    tests = [_tested(advantage.weighted(_weights(places, place))) for place in places]
    ahead, behind = min(test.p_greater for test in tests), min(test.p_less for test in tests)
    zeros = _zeros(places, [test.value for test in tests])
    low, high = _interval(advantage, zeros)
    return Crossing(
        at=zeros,
        low=low,
        high=high,
        p=min(1.0, len(places) * max(ahead, behind)),
        ahead_below=tests[0].value > 0,
    )


def _interval(advantage: Advantage, zeros: tuple[float, ...]) -> tuple[float | None, float | None]:
    """The span of all places where 0 lies within the interval of the advantage."""
    places = advantage.places

    def outside(place: float) -> float:
        """Above 0 where the advantage is told from 0, up to 0 where it is not."""
        test = _tested(advantage.weighted(_weights(places, place)))
        return abs(test.value) - test.half_width

    steps = [
        low + (high - low) * step / _STEPS
        for low, high in pairwise(places)
        for step in range(_STEPS)
    ]
    looked = sorted({*steps, places[-1], *zeros})
    inside = [index for index, place in enumerate(looked) if outside(place) <= 0]
    if not inside:
        return None, None
    first, last = inside[0], inside[-1]
    tolerance = (places[-1] - places[0]) * 1e-4
    low = (
        -inf
        if first == 0
        else float(optimize.brentq(outside, looked[first - 1], looked[first], xtol=tolerance))
    )
    high = (
        inf
        if last == len(looked) - 1
        else float(optimize.brentq(outside, looked[last], looked[last + 1], xtol=tolerance))
    )
    return low, high


def _zeros(places: tuple[float, ...], values: list[float]) -> tuple[float, ...]:
    """Where the line through the values changes its sign."""
    zeros = []
    for index in range(len(places) - 1):
        value, following = values[index], values[index + 1]
        if value * following < 0:
            share = value / (value - following)
            zeros.append(places[index] + share * (places[index + 1] - places[index]))
        elif value == 0 and index and values[index - 1] * following < 0:
            zeros.append(places[index])
    return tuple(zeros)


def _weights(places: tuple[float, ...], place: float) -> list[float]:
    """How much each level counts at a place: the two beside it, by their nearness."""
    weights = [0.0] * len(places)
    for index in range(len(places) - 1):
        low, high = places[index], places[index + 1]
        if low <= place <= high:
            share = (place - low) / (high - low)
            weights[index], weights[index + 1] = 1 - share, share
            break
    return weights


def _tested(comparison: Comparison) -> Estimate:
    assert isinstance(comparison, Estimate), "`along` has tested every level"
    return comparison
