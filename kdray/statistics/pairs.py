"""Do two given systems differ on sentences of this kind? Tests that know nothing of seeds.

They answer for these two models and not for their methods: another seed would have given other
models. For methods there is `kdray.statistics.contrast`.
"""

import numpy as np

from kdray.errors import DataError
from kdray.scoring.counts import Floats, Segments
from kdray.statistics.resampling import RESAMPLING_SEED, Score

TRIALS = 10_000  # of approximate randomisation; sacrebleu's default
_AT_ONCE = 1000  # trials that are multiplied at once, for the sake of memory


def paired_bootstrap(system: Score, baseline: Score) -> float:
    """Two-sided p of a difference by the paired bootstrap, centred on the observed difference.

    Resampled differences scatter around the observed one as observed ones would around the true
    one. So p is the share of resamples whose difference is at least as far from the observed one
    as that is from 0: the shift method of Noreen (1989), used for translation by Riezler & Maxwell
    (2005) and Berg-Kirkpatrick et al. (2012). sacrebleu centres absolute differences on their own
    mean instead, which makes its p too small. The observed data count as one resample, so p > 0
    (Phipson & Smyth 2010).

    Raises:
        DataError: the scores are not of the same segments or resamples.
    """
    _check_same(len(system.resampled), len(baseline.resampled), "resamples")
    _check_same(system.num_segments, baseline.num_segments, "segments")
    difference = system.observed - baseline.observed
    deviations = system.resampled - baseline.resampled - difference
    return _p_value(deviations, difference)


def approximate_randomisation(
    system: Segments, baseline: Segments, *, trials: int = TRIALS, seed: int = RESAMPLING_SEED
) -> float:
    """Two-sided p of a difference by approximate randomisation.

    If two systems are alike, it does not matter whose translation of a segment is whose. In every
    trial the translations of half of the segments are exchanged at random, and p is the share of
    trials with a difference at least as large as the observed one (Noreen 1989; Riezler & Maxwell
    2005). The draws are those of `sacrebleu --paired-ar`, and so is p, but for ties: they count
    against a difference here.

    Raises:
        DataError: the systems do not have the same number of segments.
    """
    _check_same(len(system.counts), len(baseline.counts), "segments")
    size = (trials, len(system.counts))
    kept = np.random.default_rng(seed).integers(2, size=size, dtype=bool)
    total = system.counts.sum(axis=0) + baseline.counts.sum(axis=0)
    differences: list[Floats] = []
    for start in range(0, trials, _AT_ONCE):
        moved = kept[start : start + _AT_ONCE].astype(np.float64)
        sums = moved @ (baseline.counts - system.counts) + system.counts.sum(axis=0)
        differences.append(baseline.score(sums) - system.score(total - sums))
    observed = system.score(system.counts.sum(axis=0)) - baseline.score(baseline.counts.sum(axis=0))
    return _p_value(np.concatenate(differences), float(observed))


def _p_value(deviations: Floats, difference: float) -> float:
    """Share of deviations as large as the difference; sums that differ by rounding are equal."""
    as_large = np.abs(deviations) >= abs(difference) - 1e-9
    return float((as_large.sum() + 1) / (len(deviations) + 1))


def _check_same(one: int, other: int, what: str) -> None:
    if one != other:
        raise DataError(
            f"paired test: one system has {one} {what} and the other {other}; both must have "
            "translated the same segments"
        )
