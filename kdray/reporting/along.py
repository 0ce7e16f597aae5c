"""How do scores and advantages change along an axis of a study?

Axes are those of the recipe whose values are numbers, the size of the students, the length of their
training, and the share of the reference that models are given. Where a study varies several, an
axis is followed in the mean over all combinations of the others that are there at every level.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

from kdray.errors import DataError
from kdray.reporting.facts import StudyFacts
from kdray.reporting.samples import BySeed, Samples
from kdray.statistics.axis import MIN_LEVELS, Advantage, Level, along
from kdray.statistics.contrast import Comparison, Estimate, Untested, contrast
from kdray.statistics.crossing import crossing
from kdray.statistics.interaction import interaction
from kdray.statistics.multiplicity import LEVEL
from kdray.statistics.resampling import Score, weighted_sum
from kdray.statistics.seeds import pool_seeds

SIZE, LENGTH, GIVEN = "student size", "training updates", "given of the reference"
"""Of every study. They hold spaces, so an axis of a recipe cannot have the same name."""
MANY = 6
"""With more methods than that, only pairs with a method that dev chose somewhere are followed."""

Coordinates = tuple[tuple[str, str], ...]


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
    relative: float  # in percent of the teacher's score
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


@dataclass(frozen=True, eq=False)
class _Spot:
    """The students of one size and length at one point, under one condition."""

    coordinates: Coordinates
    places: Mapping[str, float]  # of the coordinates that are numbers
    methods: Mapping[str, BySeed]
    teacher: Score | None


def follow_axes(
    sampled: Sequence[Samples], *, study: StudyFacts, chosen: Sequence[str]
) -> list[Along]:
    """Follow every axis of two levels or more on every test; nothing is corrected yet.

    Args:
        sampled: BLEU of all tables.
        study: its axes and the beam of the plain condition.
        chosen: methods that dev chose somewhere.
    """
    followed: list[Along] = []
    for split in dict.fromkeys(each.table.split for each in sampled if not each.table.is_dev):
        of_split = [each for each in sampled if each.table.split == split]
        plain = [each for each in of_split if each.table.beam == study.main_beam]
        spots = [spot for each in plain for spot in _spots(each, study)]
        for axis in dict.fromkeys(name for spot in spots for name in spot.places if name != GIVEN):
            followed += _follow(axis, split, spots, chosen, same_students=False)
        given = [each for each in of_split if each in plain or each.table.condition.share]
        spots = [spot for each in given for spot in _spots(each, study)]
        followed += _follow(GIVEN, split, spots, chosen, same_students=True)
    return followed


def is_logarithmic(places: Sequence[float]) -> bool:
    """Whether the steps between ascending places are more alike as factors than as differences."""
    if len(places) < MIN_LEVELS or places[0] <= 0:
        return False
    logs = [math.log(place) for place in places]
    return _unevenness(logs) < 0.999 * _unevenness(places)


def _unevenness(places: Sequence[float]) -> float:
    steps = [high - low for low, high in pairwise(places)]
    return max(steps) / min(steps)


def _spots(samples: Samples, study: StudyFacts) -> Iterator[_Spot]:
    table = samples.table
    for group in dict.fromkeys(group for group, _ in samples.cells):
        first = table.students(group)[0]
        size, length = first.cell.size, first.cell.length
        places: dict[str, float] = {GIVEN: table.condition.share}
        for name, label in table.point:
            if (numbers := study.axes.get(name)) is not None:
                places[name] = numbers[label]
        if first.num_params is not None:
            places[SIZE] = float(first.num_params)
        if length is not None:
            places[LENGTH] = float(length)
        share = str(table.condition.share)
        coordinates = (*table.point, (SIZE, size), (LENGTH, str(length or "")), (GIVEN, share))
        yield _Spot(coordinates, places, samples.by_method(group), samples.teacher)


def _follow(
    axis: str, split: str, spots: Sequence[_Spot], chosen: Sequence[str], *, same_students: bool
) -> Iterator[Along]:
    """Follow one axis, if there are two levels or more that can be compared."""
    slices: dict[Coordinates, dict[str, _Spot]] = {}
    for spot in spots:
        if axis in spot.places:
            others = tuple(pair for pair in spot.coordinates if pair[0] != axis)
            slices.setdefault(others, {})[dict(spot.coordinates)[axis]] = spot
    largest = max(slices.values(), key=len, default={})
    same = {others: each for others, each in slices.items() if each.keys() == largest.keys()}
    by_label = {
        label: fmean(each[label].places[axis] for each in same.values()) for label in largest
    }
    labels = sorted(by_label, key=by_label.__getitem__)
    places = tuple(by_label[label] for label in labels)
    if len(set(places)) < max(2, len(labels)):
        return
    is_log = is_logarithmic(places)
    means = [_mean_spot([each[label] for each in same.values()]) for label in labels]
    methods = [name for name in means[0][0] if all(name in cells for cells, _ in means)]
    steps = [
        Level(math.log(place) if is_log else place, cells, teacher)
        for place, (cells, teacher) in zip(places, means, strict=True)
    ]
    yield Along(
        axis=axis,
        split=split,
        labels=tuple(labels),
        places=places,
        is_log=is_log,
        over=tuple(_told(others) for others in same),
        lines={name: tuple(_line(name, places, steps)) for name in methods},
        pairs=tuple(
            _pair(method, other, steps, is_log=is_log, same_students=same_students)
            for method, other in combinations(methods, 2)
            if len(methods) <= MANY or method in chosen or other in chosen
        ),
    )


def _mean_spot(spots: Sequence[_Spot]) -> tuple[dict[str, BySeed], Score | None]:
    """The mean over spots of each method and seed that all of them have, and of the teachers."""
    cells: dict[str, BySeed] = {}
    for method in spots[0].methods:
        runs = [spot.methods.get(method, {}) for spot in spots]
        seeds = sorted(set(runs[0]).intersection(*runs[1:]))
        if seeds:
            cells[method] = {seed: _mean([each[seed] for each in runs]) for seed in seeds}
    teachers = [spot.teacher for spot in spots if spot.teacher is not None]
    return cells, _mean(teachers) if len(teachers) == len(spots) else None


def _mean(scores: Sequence[Score]) -> Score:
    return weighted_sum([1 / len(scores)] * len(scores), scores)


def _told(coordinates: Coordinates) -> str:
    """A place in words; what is the same in every study without such an axis is left out."""
    kept = [(name, label) for name, label in coordinates if label and name != GIVEN]
    return ", ".join(f"{name} {label}" for name, label in kept)


def _line(method: str, places: Sequence[float], levels: Sequence[Level]) -> Iterator[At]:
    for place, level in zip(places, levels, strict=True):
        yield _at(place, contrast([(1.0, pool_seeds(level.cells)[method])]))


def _at(place: float, value: Comparison) -> At:
    if isinstance(value, Estimate):
        return At(place, value.value, *value.interval)
    assert value.value is not None, "a contrast has one"
    return At(place, value.value, None, None)


def _pair(
    method: str, other: str, levels: Sequence[Level], *, is_log: bool, same_students: bool
) -> Pair:
    advantage = along(levels, method=method, baseline=other, same_students=same_students)
    if isinstance(advantage, Untested):
        return Pair(method, other, reason=advantage.reason)
    places = [_place(level.at, is_log=is_log) for level in advantage.levels]
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
