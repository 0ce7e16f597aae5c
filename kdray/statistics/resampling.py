"""How would a score have come out on other segments of the same kind?

Segments are drawn with replacement (the bootstrap, Efron 1979; for translation, Koehn 2004). One
set of draws serves all systems of a test: methods and seeds translate the same segments, so their
scores rise and fall together from draw to draw, and what is left in a difference is its own noise.

n segments, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from kdray.errors import DataError
from kdray.scoring.counts import Floats, Segments

RESAMPLING_SEED = 12345  # sacrebleu's default, so its resamples are drawn
MIN_SEGMENTS = 30
"""Fewer segments are not tested: their spread is not known well enough, and BLEU of so few is far
from normally distributed."""


@dataclass(frozen=True, eq=False)
class Score:
    """A score of one system on a whole test, and the same score on every resample of it."""

    observed: float
    resampled: Floats  # [R]
    num_segments: int

    def relative_to(self, other: "Score") -> "Score":
        """This score in percent of another one on the same resamples.

        Raises:
            DataError: the other score is 0, on the test or on a resample.
        """
        if not (other.observed and other.resampled.all()):
            raise DataError(
                "relative scores: the score to divide by is 0 on the test or on one of its "
                "resamples; compare in points instead"
            )
        return Score(
            observed=100 * self.observed / other.observed,
            resampled=100 * self.resampled / other.resampled,
            num_segments=self.num_segments,
        )


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws of a test's segments."""

    times_drawn: Floats  # [R, n]; each row adds up to n

    @classmethod
    def draw(cls, num_segments: int, samples: int, *, seed: int = RESAMPLING_SEED) -> Self:
        """Draw as sacrebleu does: with its default seed, its paired bootstrap has the same draws.

        Tests with as many segments get the same draws. That is right for several versions of the
        same sentences and harmless for others, whose sums have no common cause.

        Raises:
            DataError: there is no segment to draw from.
        """
        if num_segments < 1:
            raise DataError("resampling: there are 0 segments; give at least one")
        drawn = np.random.default_rng(seed).choice(num_segments, size=(samples, num_segments))
        places = drawn + num_segments * np.arange(samples)[:, None]
        times = np.bincount(places.ravel(), minlength=samples * num_segments)
        return cls(times.reshape(samples, num_segments).astype(np.float64))

    def score(self, segments: Segments) -> Score:
        """The score of a system on the test and on every resample: one matrix product.

        Raises:
            DataError: the system has another number of segments.
        """
        num_segments = self.times_drawn.shape[1]
        if len(segments.counts) != num_segments:
            raise DataError(
                f"resampling: the system has {len(segments.counts)} segments, but {num_segments} "
                "are drawn from; all systems of a test must have translated the same segments"
            )
        return Score(
            observed=float(segments.score(segments.counts.sum(axis=0))),
            resampled=segments.score(self.times_drawn @ segments.counts),
            num_segments=num_segments,
        )


def weighted_sum(weights: Sequence[float], scores: Sequence[Score]) -> Score:
    """A weighted sum of scores, on the test and on every resample. It is of at least one score.

    Raises:
        DataError: the scores have different numbers of resamples.
    """
    if len({len(score.resampled) for score in scores}) > 1:
        found = ", ".join(str(len(score.resampled)) for score in scores)
        raise DataError(
            f"resampling: scores with {found} resamples cannot be combined; draw as many for each"
        )
    factors = np.asarray(weights, dtype=np.float64)
    return Score(
        observed=float(factors @ [score.observed for score in scores]),
        resampled=factors @ np.stack([score.resampled for score in scores]),
        num_segments=min(score.num_segments for score in scores),
    )
