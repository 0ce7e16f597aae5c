"""How do scores and advantages change along an axis of a study?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from kdray.errors import DataError
from kdray.reporting.axes import GIVEN, Steps, apart, spots_of, steps_along
from kdray.reporting.facts import StudyFacts
from kdray.reporting.samples import Samples
from kdray.statistics.axis import MIN_LEVELS, Advantage, Level, along
from kdray.statistics.contrast import Comparison, Estimate, Untested, contrast
from kdray.statistics.crossing import crossing
from kdray.statistics.interaction import interaction
from kdray.statistics.multiplicity import LEVEL
from kdray.statistics.seeds import pool_seeds

MANY = 6
"""With more methods than that, only pairs with the baseline are followed."""


@dataclass(frozen=True)
class At:
    """A value at a place of the axis, with the ends of its 95 % interval if that is known."""

    place: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Change:
    """By how much an advantage changes from the lowest level to the highest."""

    points: float
    low: float  # ends of the 95 % interval, in points
    high: float
    relative: float  # in points of the percentage that the teacher's score is
    p_uncorrected: float
    p: float | None = None  # after the correction over the report

    @property
    def is_finding(self) -> bool:
        """Whether the advantage does change."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class ChangeOfPlaces:
    """Where two methods change places: where the means cross, and the 95 % interval of that.

    low and high are None where the interval has no end within the axis; both are None too where
    the interval is empty (`is_empty`). p is of each being ahead somewhere, p_kept of one being
    ahead at every level.
    """

    at: tuple[float, ...]
    low: float | None
    high: float | None
    is_empty: bool
    p_uncorrected: float
    p_kept_uncorrected: float = 1.0
    p: float | None = None  # after the correction over the report
    p_kept: float | None = None

    @property
    def is_finding(self) -> bool:
        """Whether it is shown that they change places."""
        return not self.is_empty and self.p is not None and self.p < LEVEL

    @property
    def is_kept(self) -> bool:
        """Whether it is shown that one of them is ahead all along."""
        return self.is_empty and self.p_kept is not None and self.p_kept < LEVEL


@dataclass(frozen=True)
class Pair:
    """A method minus another along an axis. `reason`: why nothing is tested, if nothing is."""

    method: str
    other: str
    levels: tuple[At, ...] = ()
    change: Change | None = None
    no_change: str = ""  # why no change is tested
    crossing: ChangeOfPlaces | None = None
    reason: str = ""


@dataclass(frozen=True)
class Along:
    """What happens along one axis, on one test."""

    axis: str
    split: str
    labels: tuple[str, ...]  # of the levels, ascending
    places: tuple[float, ...]
    is_log: bool  # whether steps are factors, so that a logarithmic axis serves
    over: tuple[str, ...]  # the combinations of the other axes, in words, that the mean is over
    lines: Mapping[str, tuple[At, ...]]  # BLEU of each method
    pairs: tuple[Pair, ...]


def follow_axes(sampled: Sequence[Samples], *, study: StudyFacts) -> list[Along]:
    """Follow every axis of two levels or more on every test; nothing is corrected yet.

    Args:
        sampled: BLEU of all tables.
        study: its axes, its baseline and the beam of the plain condition.
    """
    tests = [each for each in sampled if not each.table.is_dev]
    followed: list[Along] = []
    for split in dict.fromkeys(each.table.split for each in tests):
        for name, part in apart([each for each in tests if each.table.split == split]).items():
            place = f"{split} of {name}" if name else split
            plain = [each for each in part if each.table.beam == study.main_beam]
            given = [each for each in part if each in plain or each.table.condition.share]
            spots = spots_of(plain, study)
            axes = dict.fromkeys(axis for spot in spots for axis in spot.places if axis != GIVEN)
            steps = {axis: steps_along(axis, spots) for axis in axes}
            steps[GIVEN] = steps_along(GIVEN, spots_of(given, study))
            followed += [
                _along(axis, place, found, study.baseline)
                for axis, found in steps.items()
                if found is not None and found.methods
            ]
    return followed


def _along(axis: str, split: str, steps: Steps, baseline: str) -> Along:
    is_log = is_logarithmic(steps.places)
    levels = [
        Level(math.log(place) if is_log else place, cells, teacher)
        for place, cells, teacher in zip(steps.places, steps.cells, steps.teachers, strict=True)
    ]
    pools = [pool_seeds(cells) for cells in steps.cells]
    methods = steps.methods
    return Along(
        axis=axis,
        split=split,
        labels=steps.labels,
        places=steps.places,
        is_log=is_log,
        over=steps.over,
        lines={
            name: tuple(
                _at(place, contrast([(1.0, pool[name])]))
                for place, pool in zip(steps.places, pools, strict=True)
            )
            for name in methods
        },
        pairs=tuple(
            _pair(method, other, levels, steps)
            for method, other in combinations(methods, 2)
            if len(methods) <= MANY or baseline in (method, other)
        ),
    )


def is_logarithmic(places: Sequence[float]) -> bool:
    """Whether the steps between ascending places are more alike as factors than as differences."""
    if len(places) < MIN_LEVELS or places[0] <= 0:
        return False
    logs = [math.log(place) for place in places]
    return _unevenness(logs) < 0.999 * _unevenness(places)


def _unevenness(places: Sequence[float]) -> float:
    steps = [high - low for low, high in pairwise(places)]
    return max(steps) / min(steps)


def _at(place: float, value: Comparison) -> At:
    if isinstance(value, Estimate):
        return At(place, value.value, *value.interval)
    assert value.value is not None, "a contrast has one"
    return At(place, value.value, None, None)


def _pair(method: str, other: str, levels: Sequence[Level], steps: Steps) -> Pair:
    same = steps.same_students
    advantage = along(levels, method=method, baseline=other, same_students=same)
    if isinstance(advantage, Untested):
        return Pair(method, other, reason=advantage.reason)
    is_log = is_logarithmic(steps.places)
    place_of = {level.at: place for level, place in zip(levels, steps.places, strict=True)}
    places = [place_of[level.at] for level in advantage.levels]
    change, no_change = _change(advantage)
    return Pair(
        method=method,
        other=other,
        levels=tuple(_at(*each) for each in zip(places, advantage.by_level, strict=True)),
        change=change,
        no_change=no_change,
        crossing=_crossing(advantage, is_log=is_log),
    )


def _change(advantage: Advantage) -> tuple[Change | None, str]:
    try:
        found = interaction(advantage)
    except DataError as error:  # a teacher that has the score 0
        return None, str(error)
    points, relative = found.points, found.relative
    if isinstance(points, Untested) or isinstance(relative, Untested) or found.p is None:
        return None, found.reason or ""
    low, high = points.interval
    return Change(points.value, low, high, relative.value, p_uncorrected=found.p), ""


def _crossing(advantage: Advantage, *, is_log: bool) -> ChangeOfPlaces:
    found = crossing(advantage)
    return ChangeOfPlaces(
        at=tuple(_place(at, is_log=is_log) for at in found.at),
        low=_end(found.low, is_log=is_log),
        high=_end(found.high, is_log=is_log),
        is_empty=found.low is None,
        p_uncorrected=found.p,
        p_kept_uncorrected=_p_kept(advantage),
    )


def _p_kept(advantage: Advantage) -> float:
    """P of one method being ahead at every level: the largest of all levels' (Berger 1982)."""
    tests = [each for each in advantage.by_level if isinstance(each, Estimate)]
    return max(each.p for each in tests) if len({each.value > 0 for each in tests}) == 1 else 1.0


def _end(place: float | None, *, is_log: bool) -> float | None:
    return None if place is None or math.isinf(place) else _place(place, is_log=is_log)


def _place(at: float, *, is_log: bool) -> float:
    return math.exp(at) if is_log else at
