"""How much do trainings of one method differ by their seed alone?

Scores of S seeds on the same segments differ for two reasons: the models are of different worth,
and they are lucky on different segments. Their variance s² estimates the sum of both, σ² + c. How
large c is, resamples of the segments tell: it is what the differences between seeds vary from one
resample to another. With one score for each seed and segment this is the two-way crossed layout of
seeds and segments, in which σ² is estimated by the mean square of seeds less that of the
interaction (Searle, Casella & McCulloch 1992, ch. 4).

Few seeds say little of a variance. So s² and c are pooled over cells that are comparable: methods
of one size and length on one test, say. A cell that varies much more than the others is left out
of their pool and keeps a variance of its own (Cochran 1941).

S seeds of a cell, R resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Self, TypeVar

import numpy as np
from scipy import special

from kdray.statistics.resampling import Score, weighted_sum

OUTLYING = 0.01  # level of Cochran's test; it seldom parts cells that belong together
Key = TypeVar("Key")


@dataclass(frozen=True)
class SeedNoise:
    """What is known of the variance between seeds, in squared points of the score."""

    observed: float  # s², pooled; its expectation is σ² + c
    of_segments: float  # c, pooled: the part that other segments would change
    df: float  # degrees of freedom of s²: the sum of S - 1 over the pooled cells
    num_cells: int  # pooled cells

    @property
    def own(self) -> float:
        """σ²: the variance that would be left on a test without end, at least 0."""
        return max(0.0, self.observed - self.of_segments)


@dataclass(frozen=True, eq=False)
class Runs:
    """The scores of one method in one place, over its seeds."""

    scores: tuple[Score, ...]  # at least one
    noise: SeedNoise | None  # None: the cell has one seed, so its noise is not known

    @classmethod
    def fixed(cls, score: Score) -> Self:
        """A system that is meant itself, such as a given teacher: no seed could be another."""
        return cls((score,), SeedNoise(observed=0, of_segments=0, df=inf, num_cells=0))

    @cached_property
    def mean(self) -> Score:
        """The mean over seeds, on the test and on every resample."""
        return weighted_sum([1 / len(self.scores)] * len(self.scores), self.scores)


def pool_seeds(cells: Mapping[Key, Mapping[int, Score]]) -> dict[Key, Runs]:
    """Give each cell the seed noise that it shares with those like it.

    Args:
        cells: scores by seed, of comparable cells: one test, metric and kind of student.
    """
    own = {key: _noise(tuple(runs.values())) for key, runs in cells.items()}
    alike = {key: noise for key, noise in own.items() if noise is not None}
    noises = dict(own)
    while (outlier := _outlier(alike)) is not None:
        del alike[outlier]
    if alike:
        noises |= dict.fromkeys(alike, _pool(alike))
    return {key: Runs(tuple(runs.values()), noises[key]) for key, runs in cells.items()}


def _noise(scores: tuple[Score, ...]) -> SeedNoise | None:
    """The noise of one cell by itself; None with one seed."""
    df = len(scores) - 1
    if not df:
        return None
    resampled = np.stack([score.resampled for score in scores])  # [S, R]
    deviations = resampled - resampled.mean(axis=0)
    num_segments = scores[0].num_segments
    return SeedNoise(
        observed=float(np.var([score.observed for score in scores], ddof=1)),
        of_segments=float(deviations.var(axis=1, ddof=1).sum() / df * unbiased(num_segments)),
        df=df,
        num_cells=1,
    )


def unbiased(num_segments: int) -> float:
    """Factor by which a variance over resamples is too small: a resample knows n - 1 deviations."""
    return num_segments / max(num_segments - 1, 1)


def _pool(noises: Mapping[Key, SeedNoise]) -> SeedNoise:
    """The mean of variances, weighted by their degrees of freedom."""
    df = sum(noise.df for noise in noises.values())
    return SeedNoise(
        observed=sum(noise.df * noise.observed for noise in noises.values()) / df,
        of_segments=sum(noise.df * noise.of_segments for noise in noises.values()) / df,
        df=df,
        num_cells=len(noises),
    )


def _outlier(noises: Mapping[Key, SeedNoise]) -> Key | None:
    """The cell whose variance is too large for those of the others: Cochran's test, as an F test.

    The largest of k ratios is tested, so its p is multiplied by k.
    """
    p_values: dict[Key, float] = {}
    for key, noise in noises.items():
        others = {other: each for other, each in noises.items() if other != key}
        if not others:
            return None
        rest = _pool(others)
        if noise.observed <= rest.observed:
            continue
        ratio = noise.observed / rest.observed if rest.observed else inf
        p_values[key] = len(noises) * float(special.fdtrc(noise.df, rest.df, ratio))
    outlier = min(p_values, key=p_values.__getitem__, default=None)
    return None if outlier is None or p_values[outlier] >= OUTLYING else outlier
