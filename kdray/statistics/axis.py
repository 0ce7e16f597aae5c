"""How far is one method ahead of another, at the levels of a numeric axis?

An axis is what a study varies in steps: noise in the text, the size of the student, the length of
sentences. Either every level has students of its own (they were trained differently), or all
levels test the same students (on several tests). Seeds are other models in the first case and the
same ones in the second, so the noise of a sum over levels differs: in the second case each
student's own sum over the levels is one score, and seeds vary that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real

from kdray.errors import DataError
from kdray.statistics.contrast import Comparison, Untested, contrast
from kdray.statistics.resampling import Score, weighted_sum
from kdray.statistics.seeds import Runs, pool_seeds

MIN_LEVELS = 3

Cells = Mapping[str, Mapping[int, Score]]  # method -> seed -> score


@dataclass(frozen=True, eq=False)
class Level:
    """One step of an axis.

    Levels that test the same sentences need the same resamples; other sentences have their own.
    """

    at: float  # where on the axis; of an axis of factors (1, 2, 4, …) give logarithms
    cells: Cells  # all methods that are comparable here: they share their seed noise
    teacher: Score | None = None


@dataclass(frozen=True, eq=False)
class Advantage:
    """A method minus a baseline along an axis; `along` makes it of levels that it has checked."""

    method: str
    baseline: str
    levels: tuple[Level, ...]  # ascending, three or more; all have both methods
    same_students: bool

    @property
    def places(self) -> tuple[float, ...]:
        """Where the levels are, ascending."""
        return tuple(level.at for level in self.levels)

    @cached_property
    def by_level(self) -> tuple[Comparison, ...]:
        """The difference at each level, in points."""
        return tuple(
            self.weighted([float(other is level) for other in self.levels]) for level in self.levels
        )

    def weighted(self, weights: Sequence[float]) -> Comparison:
        """A weighted sum over the levels of the differences, in points."""
        return self._weighted(weights, self._points)

    def weighted_relative(self, weights: Sequence[float]) -> Comparison:
        """The same with every score in percent of the teacher's at its level.

        Raises:
            DataError: a teacher has the score 0.
        """
        if any(level.teacher is None for level in self.levels):
            return Untested("a level has no teacher that scores could be taken relative to")
        return self._weighted(weights, self._percent)

    @cached_property
    def _points(self) -> "_Scale":
        return _Scale(tuple(level.cells for level in self.levels))

    @cached_property
    def _percent(self) -> "_Scale":
        return _Scale(
            tuple(
                {
                    method: {seed: score.relative_to(level.teacher) for seed, score in runs.items()}
                    for method, runs in level.cells.items()
                }
                for level in self.levels
                if level.teacher is not None
            )
        )

    def _weighted(self, weights: Sequence[float], scale: "_Scale") -> Comparison:
        if self.same_students:
            runs = pool_seeds(_sums_of_students(weights, scale.cells))
            return contrast([(1.0, runs[self.method]), (-1.0, runs[self.baseline])])
        terms = [
            (sign * weight, pool[method])
            for weight, pool in zip(weights, scale.pools, strict=True)
            for sign, method in ((1.0, self.method), (-1.0, self.baseline))
            if weight
        ]
        return contrast(terms)


@dataclass(frozen=True, eq=False)
class _Scale:
    """The scores of all levels in one unit."""

    cells: tuple[Cells, ...]

    @cached_property
    def pools(self) -> list[dict[str, Runs]]:
        """Each level's runs, with the seed noise of that level."""
        return [pool_seeds(cells) for cells in self.cells]


def along(
    levels: Sequence[Level], *, method: str, baseline: str, same_students: bool
) -> Advantage | Untested:
    """Compare two methods along an axis, at the levels that have both with two seeds or more.

    Untested if there are fewer than three such levels, or if the axis is not numeric.

    Args:
        levels: in any order.
        method: whose advantage is asked for.
        baseline: over whom.
        same_students: whether all levels test the same trained students.

    Raises:
        DataError: two levels are at one place, or the scores of a level are not of one test.
    """
    for level in levels:
        if not _is_number(level.at):
            return Untested(f"the axis is not numeric: it has a level at {level.at!r}")
    ordered = tuple(sorted(levels, key=lambda level: level.at))
    _check_levels(ordered)
    usable = tuple(
        level
        for level in ordered
        if all(len(level.cells.get(name, ())) > 1 for name in (method, baseline))
    )
    if len(usable) < MIN_LEVELS:
        return Untested(
            f"{len(usable)} of {len(ordered)} levels have {method} and {baseline} with two seeds "
            f"or more; {MIN_LEVELS} are needed"
        )
    advantage = Advantage(method, baseline, usable, same_students)
    if same_students and any(len(_common(usable, name)) < 2 for name in (method, baseline)):
        return Untested("fewer than two seeds of a method were tested at all levels")
    for tested in advantage.by_level:
        if isinstance(tested, Untested):
            return tested
    return advantage


def _sums_of_students(weights: Sequence[float], levels: Sequence[Cells]) -> Cells:
    """Each student's weighted sum over the levels that count, if it was tested at all of them."""
    used = [(weight, cells) for weight, cells in zip(weights, levels, strict=True) if weight]
    factors = [weight for weight, _ in used]
    sums: dict[str, dict[int, Score]] = {}
    for method in levels[0]:
        runs = [cells.get(method, {}) for _, cells in used]
        seeds = sorted(set(runs[0]).intersection(*runs[1:]))
        if seeds:
            sums[method] = {
                seed: weighted_sum(factors, [scores[seed] for scores in runs]) for seed in seeds
            }
    return sums


def _is_number(place: object) -> bool:
    """Whether it is a place on an axis; what a configuration holds may be of any type."""
    return not isinstance(place, bool) and isinstance(place, Real) and math.isfinite(place)


def _common(levels: Sequence[Level], method: str) -> set[int]:
    return set.intersection(*(set(level.cells[method]) for level in levels))


def _check_levels(levels: Sequence[Level]) -> None:
    for level, following in pairwise(levels):
        if level.at == following.at:
            raise DataError(f"axis: two levels are at {level.at:g}; give one level for each place")
    for level in levels:
        scores = [score for runs in level.cells.values() for score in runs.values()]
        scores += [level.teacher] if level.teacher is not None else []
        if len(found := {score.num_segments for score in scores}) > 1:
            raise DataError(
                f"axis: at {level.at:g} some scores are of {min(found)} segments and others of "
                f"{max(found)}; all models of a level must have translated one test"
            )
