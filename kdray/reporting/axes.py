"""The axes of a study as the statistics take them: levels, each with the scores of its students.

Axes are those of the recipe whose values are numbers, the size of the students, the length of their
training, and the share of the reference that models are given. Where a study varies several, an
axis is followed in the mean over all combinations of the others that are there at every level.
Several studies in one report, and tests that are scored in several ways, are followed apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from kdray.reporting.facts import STUDIES, StudyFacts
from kdray.reporting.samples import BySeed, Samples
from kdray.statistics.resampling import Score, weighted_sum

SIZE, LENGTH, GIVEN = "student size", "training updates", "given of the reference"
"""No axis of a recipe has a name with spaces."""

Coordinates = tuple[tuple[str, str], ...]
Models = Mapping[str, Mapping[int, str]]  # fingerprints by method and seed


@dataclass(frozen=True, eq=False)
class Spot:
    """The students of one size and length at one point, under one condition."""

    coordinates: Coordinates
    places: Mapping[str, float]  # of the coordinates that are numbers
    methods: Mapping[str, BySeed]
    models: Models
    teacher: Score | None


@dataclass(frozen=True, eq=False)
class Steps:
    """An axis: its levels in ascending order, each with means over the other axes."""

    labels: tuple[str, ...]
    places: tuple[float, ...]
    over: tuple[str, ...]  # the combinations of the other axes, in words
    cells: tuple[Mapping[str, BySeed], ...]  # of each level
    teachers: tuple[Score | None, ...]
    same_students: bool  # whether all levels test the same trained models

    @property
    def methods(self) -> list[str]:
        """Those that are at every level."""
        return [name for name in self.cells[0] if all(name in cells for cells in self.cells)]


def spots_of(sampled: Sequence[Samples], study: StudyFacts) -> list[Spot]:
    """The students of several tables."""
    return [spot for samples in sampled for spot in _spots(samples, study)]


def apart(sampled: Sequence[Samples]) -> dict[str, list[Samples]]:
    """Tables that may be followed together, by the name of what they belong to."""
    parts: dict[tuple[str, str], list[Samples]] = {}
    for each in sampled:
        study = dict(each.table.point).get(STUDIES, "")
        parts.setdefault((study, each.table.signatures[each.metric]), []).append(each)
    of_studies = [study for study, _ in parts]
    return {
        " ".join([study, *([signature] if of_studies.count(study) > 1 else [])]).strip(): tables
        for (study, signature), tables in parts.items()
    }


def steps_along(axis: str, spots: Sequence[Spot]) -> Steps | None:
    """The levels of an axis; None if there are not two that can be compared."""
    slices: dict[Coordinates, dict[str, Spot]] = {}
    for spot in spots:
        if axis in spot.places:
            others = tuple(pair for pair in spot.coordinates if pair[0] != axis)
            slices.setdefault(others, {})[dict(spot.coordinates)[axis]] = spot
    largest = max(slices.values(), key=len, default={})
    same = {others: each for others, each in slices.items() if each.keys() == largest.keys()}
    same = _whole(same) or same
    by_label = {
        label: fmean(each[label].places[axis] for each in same.values()) for label in largest
    }
    by_place = {by_label[label]: label for label in reversed(largest)}  # the first of equal ones
    places = tuple(sorted(by_place))
    if len(places) < 2:
        return None
    labels = tuple(by_place[place] for place in places)
    means = [_mean_spot([each[label] for each in same.values()]) for label in labels]
    return Steps(
        labels=labels,
        places=places,
        over=tuple(_told(others) for others in same),
        cells=tuple(cells for cells, _ in means),
        teachers=tuple(teacher for _, teacher in means),
        same_students=all(
            each[label].models == each[labels[0]].models
            for each in same.values()
            for label in labels
        ),
    )


def _whole(
    slices: Mapping[Coordinates, Mapping[str, Spot]],
) -> dict[Coordinates, dict[str, Spot]]:
    """The combinations that lack no student that another one has: a mean needs all of them."""
    every = {
        (name, seed)
        for levels in slices.values()
        for spot in levels.values()
        for name, runs in spot.methods.items()
        for seed in runs
    }

    def lacks_none(spot: Spot) -> bool:
        return every == {(name, seed) for name, runs in spot.methods.items() for seed in runs}

    return {
        others: dict(levels)
        for others, levels in slices.items()
        if all(map(lacks_none, levels.values()))
    }


def _spots(samples: Samples, study: StudyFacts) -> Iterator[Spot]:
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
        models = {name: runs for (of, name), runs in samples.models.items() if of == group}
        yield Spot(coordinates, places, samples.by_method(group), models, samples.teacher)


def _mean_spot(spots: Sequence[Spot]) -> tuple[dict[str, BySeed], Score | None]:
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
