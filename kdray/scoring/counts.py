"""What has to be counted in each segment, so that a metric can be taken of any sample of them?

BLEU and chrF are functions of sums over segments. sacrebleu counts, segment by segment; the score
of a sum is computed here, for any number of sums at once, and equals sacrebleu's. A metric that
scores each segment and averages the scores fits the same form.

What sacrebleu counts stands in its private methods, which are used here and nowhere else.

n segments, K counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from kdray.errors import DataError
from kdray.scoring.metrics import Scores, bleu_metric, check_parallel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Segments:
    """What a metric counted in the translations of one system."""

    counts: Floats  # [n, K]
    score: Callable[[Floats], Floats]  # summed counts [..., K] -> scores [...]


class SegmentCounter:
    """Counts for one metric and one set of references, which are analysed once."""

    def __init__(
        self, metric: Metric, refs: Sequence[str], score: Callable[[Floats], Floats]
    ) -> None:
        self._metric, self._refs, self._score = metric, refs, score
        metric._ref_cache = metric._cache_references([refs])

    def count(self, hyps: Sequence[str]) -> Segments:
        """Count what the metric needs of every translation.

        Raises:
            DataError: there are no translations, or not as many as references.
        """
        check_parallel(hyps, self._refs)
        counts = self._metric._extract_corpus_statistics(hyps, None)
        return Segments(np.array(counts, dtype=np.float64), self._score)


def score_and_count(
    hyps: Sequence[str], refs: Sequence[str], *, bleu_tokenize: str
) -> tuple[Scores, dict[str, Segments]]:
    """`kdray.scoring.metrics.score`, and by metric what it was computed from, counted once.

    Raises:
        ConfigError, DataError: as `score`.
    """
    check_parallel(hyps, refs)
    metrics: tuple[BLEU, CHRF] = bleu_metric(bleu_tokenize), CHRF()
    counted = [metric._extract_corpus_statistics(hyps, [refs]) for metric in metrics]
    of_bleu, of_chrf = (
        metric._aggregate_and_compute(counts)
        for metric, counts in zip(metrics, counted, strict=True)
    )
    scores = Scores(
        bleu=float(of_bleu.score),
        chrf=float(of_chrf.score),
        bleu_signature=str(metrics[0].get_signature()),
        chrf_signature=str(metrics[1].get_signature()),
        bleu_detail=of_bleu._verbose,
    )
    segments = {
        name: Segments(np.array(counts, dtype=np.float64), SCORES[name])
        for name, counts in zip(SCORES, counted, strict=True)
    }
    return scores, segments


def bleu_counter(refs: Sequence[str], *, bleu_tokenize: str) -> SegmentCounter:
    """Count for BLEU; scores are from 0 to 100.

    Raises:
        ConfigError: the tokenizer cannot be used, see `kdray.scoring.metrics.check_tokenizer`.
    """
    return SegmentCounter(bleu_metric(bleu_tokenize), refs, bleu)


def chrf_counter(refs: Sequence[str]) -> SegmentCounter:
    """Count for chrF (chrF2, characters alone); scores are from 0 to 100."""
    return SegmentCounter(CHRF(), refs, chrf)


def mean_of_segments(values: Sequence[float]) -> Segments:
    """The form of a metric that gives each segment a score, in the metric's own unit.

    Raises:
        DataError: there is no value, or one is not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise DataError(
            f"scores of segments: found an array of shape {scores.shape}; give one number for "
            "each segment, and at least one"
        )
    if not np.isfinite(scores).all():
        first = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise DataError(
            f"scores of segments: segment {first} has {scores[first]}; every segment needs a "
            "finite score, so score its translation again or leave the metric out"
        )
    return Segments(np.stack([scores, np.ones_like(scores)], axis=1), _mean)


def bleu(sums: Floats) -> Floats:
    """BLEU of summed counts, as sacrebleu computes it with its exponential smoothing.

    Args:
        sums: [..., 10], the lengths of translation and reference, matches of 1 to 4 words, and
            all sequences of 1 to 4 words.

    Returns:
        [...], 0 to 100 (Papineni et al. 2002; smoothing: method 3 of Chen & Cherry 2014).
    """
    hyp_len, ref_len = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2:6], sums[..., 6:10]
    missing = matches == 0
    smoothed = np.where(missing, 0.5 ** np.cumsum(missing, axis=-1), matches)
    is_defined = (totals > 0).all(axis=-1) & ~missing.all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.minimum(0.0, 1.0 - ref_len / hyp_len)
        scores = 100 * np.exp(brevity + np.log(smoothed / totals).mean(axis=-1))
    return np.where(is_defined, scores, 0.0)


def chrf(sums: Floats) -> Floats:
    """Chrf of summed counts, as sacrebleu computes it.

    Args:
        sums: [..., 18], for 1 to 6 characters in turn: all sequences of the translation, all of
            the reference, and the matches. sacrebleu counts a length in the translation of a
            segment only where the reference has sequences of it.

    Returns:
        [...], 0 to 100: F2 of precision and recall, each the mean over those lengths of sequences
        that occur on both sides (Popović 2015).
    """
    in_hyp, in_ref, matches = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    orders = np.maximum((in_hyp > 0).sum(axis=-1), 1)
    precision = (matches / np.maximum(in_hyp, 1)).sum(axis=-1) / orders
    recall = (matches / np.maximum(in_ref, 1)).sum(axis=-1) / orders
    weight = CHRF.BETA**2
    below = weight * precision + recall
    scores = 100 * (1 + weight) * precision * recall / np.where(below > 0, below, 1)
    return np.asarray(scores)


def _mean(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / sums[..., 1])


SCORES: Final[Mapping[str, Callable[[Floats], Floats]]] = {"bleu": bleu, "chrf": chrf}
"""The metrics whose counts are kept, and what makes a score of them."""
NUM_COUNTS: Final[Mapping[str, int]] = {"bleu": 10, "chrf": 18}
"""How many counts each of them has of a segment."""
