"""What is a difference between methods worth, when both sentences and seeds could be others?

A contrast is a weighted sum of methods' means over their seeds: a difference of two is the one with
weights 1 and -1. Seeds and sentences are crossed, since all seeds translate the same sentences. The
score of method m with seed s on n segments is

    score = worth of m + seed (variance σ²) + segments × m (b) + segments × seed (c),

where the variances b and c shrink as 1/n, and what the segments do to all methods alike cancels.
With weights w and S seeds a contrast has the variance

    V = Σ w² σ²/S + [ sum over segments × m, and Σ w² c/S ].

Resampling the segments, jointly for all seeds and methods, gives the bracket as a whole: the seeds
are fixed there, and it holds b and c of just these. So

    V = variance over resamples · n/(n-1) + Σ w² σ̂²/S,   σ̂² = max(0, s² - ĉ)   (`seeds`).

To add s²/S instead would count c twice; it is the larger part of s² where tests are short. For
balanced data V is the known (MS_seeds + MS_segments - MS_interaction)/(Sn), with the difference of
the first and the last kept from being negative (Searle, Casella & McCulloch 1992; cf. Owen 2007 on
resampling crossed data).

V is compared with a t distribution whose degrees of freedom follow Satterthwaite (1946), Welch
(1947): V²/df = Σ (part of V)²/(df of the part). The parts are the resampled variance, with n - 1,
and w²/S · max(s², ĉ), with those of the pool. The latter is taken whole, since the error of s² is
in V whole, however much ĉ is subtracted from it.

Seeds of different methods count as independent. Where equal seeds make two methods alike (the same
initial weights, say), their difference varies less than V says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, inf, sqrt

from scipy import special

from kdray.errors import DataError
from kdray.statistics.resampling import MIN_SEGMENTS, weighted_sum
from kdray.statistics.seeds import Runs, SeedNoise, unbiased

CONFIDENCE = 0.95  # of intervals


@dataclass(frozen=True)
class Estimate:
    """A contrast with what is known of its error. Values are in points of the score."""

    value: float
    segment_variance: float  # of the value, over test sets of this size, with these models
    seed_variance: float  # of the value, over seeds, on a test without end
    df: float  # degrees of freedom of the sum of both

    @property
    def standard_error(self) -> float:
        """Standard deviation of the value over other sentences and other seeds."""
        return sqrt(self.segment_variance + self.seed_variance)

    @property
    def t(self) -> float:
        """The value in standard errors; 0 if there is neither value nor error."""
        if abs(self.value) < 1e-9:  # equal but for rounding
            return 0.0
        error = self.standard_error
        return self.value / error if error else copysign(inf, self.value)

    @property
    def p(self) -> float:
        """Two-sided p of the hypothesis that the value is 0, by a t test. Not corrected."""
        return 2 * _tail(abs(self.t), self.df)

    @property
    def p_greater(self) -> float:
        """One-sided p of the hypothesis that the value is 0 or less."""
        return _tail(self.t, self.df)

    @property
    def p_less(self) -> float:
        """One-sided p of the hypothesis that the value is 0 or more."""
        return _tail(-self.t, self.df)

    @property
    def half_width(self) -> float:
        """Half of the interval: a smaller value could not have been told from 0."""
        return self.standard_error * quantile(self.df)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % confidence interval."""
        return self.value - self.half_width, self.value + self.half_width


@dataclass(frozen=True)
class Untested:
    """A contrast that has a value but no p."""

    reason: str  # a clause that follows "untested: "
    value: float | None = None
    these_models: Estimate | None = None
    """What the sentences alone say: of these very models, not of their methods."""

    @property
    def p(self) -> None:
        """There is none."""
        return None


Comparison = Estimate | Untested
Terms = Sequence[tuple[float, Runs]]


def compare(method: Runs, baseline: Runs) -> Comparison:
    """A method minus a baseline on one test, on the same resamples.

    Raises:
        DataError: their segments or resamples are not the same.
    """
    found = {score.num_segments for runs in (method, baseline) for score in runs.scores}
    if len(found) > 1:
        raise DataError(
            f"comparison: one side has {min(found)} segments and the other {max(found)}; both "
            "must have translated the same test"
        )
    return contrast([(1.0, method), (-1.0, baseline)])


def contrast(terms: Terms) -> Comparison:
    """A weighted sum of cells' means over seeds, with the error that seeds and sentences leave.

    Raises:
        DataError: there are no terms, or their numbers of resamples differ.
    """
    if not terms:
        raise DataError("contrast: there are 0 cells; give at least one")
    total = weighted_sum([weight for weight, _ in terms], [runs.mean for _, runs in terms])
    if total.num_segments < MIN_SEGMENTS:
        return Untested(
            f"{total.num_segments} segments are too few, a test needs {MIN_SEGMENTS} or more",
            value=total.observed,
        )
    resampled = float(total.resampled.var(ddof=1)) * unbiased(total.num_segments)
    df = total.num_segments - 1
    these_models = Estimate(total.observed, segment_variance=resampled, seed_variance=0, df=df)
    shares: dict[SeedNoise, float] = {}  # Σ w²/S of the cells that share a noise
    for weight, runs in terms:
        if runs.noise is None:
            return Untested(
                "with one seed of a method its seed noise is unknown, it needs two or more",
                value=total.observed,
                these_models=these_models,
            )
        shares[runs.noise] = shares.get(runs.noise, 0.0) + weight**2 / len(runs.scores)
    own = sum(share * noise.own for noise, share in shares.items())
    parts = [(resampled, float(df)), *map(_part, shares.items())]
    return Estimate(
        value=total.observed,
        segment_variance=resampled,
        seed_variance=own,
        df=satterthwaite(resampled + own, parts),
    )


def satterthwaite(variance: float, parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a variance that is put together of (part, its degrees of freedom)."""
    below = sum(part**2 / df for part, df in parts)
    return variance**2 / below if below else inf


def quantile(df: float) -> float:
    """How many standard errors reach from the middle to an end of the interval."""
    tail = (1 + CONFIDENCE) / 2
    return float(special.ndtri(tail) if df == inf else special.stdtrit(df, tail))


def _part(item: tuple[SeedNoise, float]) -> tuple[float, float]:
    noise, share = item
    return share * max(noise.observed, noise.of_segments), noise.df


def _tail(t: float, df: float) -> float:
    """Probability of more than t, by Student's distribution."""
    return float(special.ndtr(-t) if df == inf else special.stdtr(df, -t))
