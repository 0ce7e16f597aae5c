"""How many seeds would it take to make a finding of a difference, if it is real?

The parts of a difference's variance are known from the seeds that were trained (`contrast`): one
part shrinks with more seeds, the other only with more segments. So the chance of a p below a level
can be told for any number of seeds, by the noncentral t distribution.

It is an estimate and no promise. If the difference that was seen is put in for the true one, it is
often too large where it was picked for being large (Hoenig & Heisey 2001); a better question is how
many seeds the smallest difference needs that would matter.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from kdray.statistics.contrast import Untested, compare, satterthwaite
from kdray.statistics.multiplicity import LEVEL
from kdray.statistics.seeds import Runs, SeedNoise

POWER = 0.8  # wanted chance to find a difference that is there
MAX_SEEDS = 50  # more are not proposed


@dataclass(frozen=True)
class NextRuns:
    """What it would take to find a difference."""

    difference: float  # in points: what is to be found
    seeds: int | None  # of each method; None: more than MAX_SEEDS, or no number would do
    segments_factor: float  # how many times as many segments a test needs, at MAX_SEEDS, at least 1

    def __str__(self) -> str:
        size = f"a difference of {abs(self.difference):.2f}"
        if self.seeds is not None:
            return f"{size} would be found with {self.seeds} seeds of each method"
        if self.segments_factor > 1:
            return (
                f"{size} needs a test of about {self.segments_factor:.1f} times as many segments: "
                "more seeds alone would not do"
            )
        return f"{size} needs more than {MAX_SEEDS} seeds of each method"


def what_next(
    method: Runs,
    baseline: Runs,
    *,
    difference: float | None = None,
    level: float = LEVEL,
    power: float = POWER,
) -> NextRuns | Untested:
    """How many seeds of both methods, and of all that share their noise, would be needed.

    Untested if the noise is not known: one seed, or too few segments.

    Args:
        method: its runs so far.
        baseline: its runs so far.
        difference: what is to be found, in points; the observed one by default.
        level: of the p that counts as found; with m comparisons, Holm's strictest is level/m.
        power: the wanted chance, in (0, 1).

    Raises:
        DataError: the two are not of one test.
    """
    now = compare(method, baseline)
    if isinstance(now, Untested):
        return now
    wanted = abs(now.value if difference is None else difference)
    if not wanted:
        return Untested("there is no difference that could be found", value=now.value)
    noises = [runs.noise for runs in (method, baseline) if runs.noise is not None]
    drawn = sum(
        runs.noise.of_segments / len(runs.scores)
        for runs in (method, baseline)
        if runs.noise is not None
    )
    lasting = max(0.0, now.segment_variance - drawn)
    segments = method.scores[0].num_segments
    for seeds in range(2, MAX_SEEDS + 1):
        variance, df = _at(seeds, noises, lasting, segments - 1)
        if _chance(wanted, variance, df, level) >= power:
            return NextRuns(wanted, seeds, segments_factor=1.0)
    # Here `variance` is that with MAX_SEEDS.
    own = sum(noise.own for noise in noises) / MAX_SEEDS
    needed = (special.ndtri(1 - level / 2) + special.ndtri(power)) ** 2
    left = wanted**2 / needed - own  # what the segments may contribute
    factor = (variance - own) / left if left > 0 else 1.0
    return NextRuns(wanted, None, segments_factor=max(1.0, float(factor)))


def _at(
    seeds: int, noises: list[SeedNoise], lasting: float, df_segments: int
) -> tuple[float, float]:
    """The variance of a difference with so many seeds, and its degrees of freedom."""
    shares: dict[SeedNoise, int] = {}
    for noise in noises:
        shares[noise] = shares.get(noise, 0) + 1
    parts = [(lasting, float(df_segments))]
    for noise, times in shares.items():
        part = times * max(noise.observed, noise.of_segments) / seeds
        parts.append((part, noise.num_cells * (seeds - 1) or np.inf))
    variance = sum(part for part, _ in parts)
    return variance, satterthwaite(variance, parts)


def _chance(difference: float, variance: float, df: float, level: float) -> float:
    """The chance that a two-sided t test finds a difference, with the right sign."""
    if not variance:
        return 1.0
    df = min(df, 1e6)
    critical = -special.stdtrit(df, level / 2)
    shift = min(difference / variance**0.5, 30.0)  # beyond, the chance is 1 to any precision
    return float(stats.nct.sf(critical, df, shift))
