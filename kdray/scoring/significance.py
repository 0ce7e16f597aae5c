"""Is a difference between two systems more than chance, in the test set or in the seed?

The test is sacrebleu's paired bootstrap of BLEU (Koehn 2004), with the same resamples, so the
p-values are those of `sacrebleu --paired-bs`. This file adds the interval of the difference and the
rule for several seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from sacrebleu.significance import _compute_p_value

from kdray.scoring.metrics import bleu_metric, check_parallel

BOOTSTRAP_SEED = 12345  # sacrebleu's default


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline on one test set. Scores and differences are in BLEU points."""

    baseline_score: float
    system_score: float
    difference: float  # system - baseline
    p_value: float  # two-sided, in (0, 1]
    ci_low: float  # of the difference: 2.5 % quantile over resamples
    ci_high: float  # of the difference: 97.5 % quantile over resamples


@dataclass(frozen=True)
class SeedComparison:
    """A method against a baseline, seed by seed, with a conservative summary."""

    by_seed: Mapping[int, Comparison]  # the seeds that both have, at least one

    @property
    def p_value(self) -> float:
        """The largest p over seeds; a seed whose difference points the other way counts as 1."""
        mean = sum(comparison.difference for comparison in self.by_seed.values())
        return max(
            comparison.p_value if comparison.difference * mean > 0 else 1.0
            for comparison in self.by_seed.values()
        )

    @property
    def ci_low(self) -> float:
        """Lower end of the range that covers every seed's interval."""
        return min(comparison.ci_low for comparison in self.by_seed.values())

    @property
    def ci_high(self) -> float:
        """Upper end of the range that covers every seed's interval."""
        return max(comparison.ci_high for comparison in self.by_seed.values())


def paired_bootstrap(
    baseline: Sequence[str],
    system: Sequence[str],
    refs: Sequence[str],
    *,
    bleu_tokenize: str,
    samples: int,
) -> Comparison:
    """Compare two systems' translations of the same segments by paired bootstrap resampling.

    Segment i of `baseline`, `system` and `refs` belong together. Unlike sacrebleu, which gives
    the smallest possible p to a system compared with itself, equal scores in every resample
    give p = 1.

    Raises:
        ConfigError: the tokenizer cannot be used, see `check_tokenizer`.
        DataError: the three do not have the same length, or are empty.
    """
    check_parallel(baseline, refs)
    check_parallel(system, refs)
    how = (tuple(refs), bleu_tokenize, samples)
    baseline_score, resampled_baseline = _scores(tuple(baseline), *how)
    system_score, resampled_system = _scores(tuple(system), *how)
    difference = system_score - baseline_score
    differences = resampled_system - resampled_baseline
    spreads = np.abs(differences)
    p_value = _compute_p_value(spreads - spreads.mean(), abs(difference)) if spreads.any() else 1.0
    low, high = np.quantile(differences, [0.025, 0.975])
    return Comparison(
        baseline_score=baseline_score,
        system_score=system_score,
        difference=difference,
        p_value=float(p_value),
        ci_low=float(low),
        ci_high=float(high),
    )


def compare_seeds(
    baseline: Mapping[int, Sequence[str]],
    system: Mapping[int, Sequence[str]],
    refs: Sequence[str],
    *,
    bleu_tokenize: str,
    samples: int,
) -> SeedComparison | None:
    """Compare runs of the same training seed; keys are training seeds, values translations.

    None when no seed is common.

    Raises:
        ConfigError, DataError: as `paired_bootstrap`.
    """
    by_seed = {
        seed: paired_bootstrap(
            baseline[seed], system[seed], refs, bleu_tokenize=bleu_tokenize, samples=samples
        )
        for seed in sorted(baseline.keys() & system.keys())
    }
    return SeedComparison(by_seed) if by_seed else None


@lru_cache(maxsize=32)  # the baseline's scores are used for every method of a table
def _scores(
    hyps: tuple[str, ...], refs: tuple[str, ...], bleu_tokenize: str, samples: int
) -> tuple[float, npt.NDArray[np.float64]]:
    """The corpus score, and the score of each resample, drawn as sacrebleu draws them.

    The resamples depend only on the number of segments, so those of two systems are pairs.
    """
    scorer = bleu_metric(bleu_tokenize)
    statistics = scorer._extract_corpus_statistics(hyps, [refs])
    size = (samples, len(statistics))
    drawn = np.random.default_rng(BOOTSTRAP_SEED).choice(len(statistics), size=size, replace=True)
    of_segments = np.array(statistics, dtype=np.float32)
    resampled = [scorer._compute_score_from_stats(of_segments[rows].sum(0)) for rows in drawn]
    whole = scorer._aggregate_and_compute(statistics)
    return float(whole.score), np.array([score.score for score in resampled])
