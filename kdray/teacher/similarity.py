"""How alike are two translations? sacrebleu's sentence chrF and sentence BLEU, many at a time.

The n-gram counts of each text are made once and compared with those of many others, by the very
functions that sacrebleu's own `sentence_score` is made of (`_preprocess_segment`,
`_extract_reference_info`, `_compute_segment_statistics`, `_get_match_statistics` and
`_compute_f_score`; sacrebleu 2.5 and 2.6 have them); tests hold them against `sentence_score`.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

SimilarityName = Literal["bleu", "chrf"]


class Similarity(Protocol):
    """From 0 to 100; of a translation to a reference, so the order of the two counts."""

    def to(self, ref: str, hyps: Sequence[str]) -> NDArray[np.float64]:
        """Each translation's similarity to one reference. -> [hyps]."""

    def among(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of each text, as a translation, to each, as a reference. -> [texts, texts]."""


def similarity(name: SimilarityName) -> Similarity:
    """Sentence chrF, or sentence BLEU with exponential smoothing and effective order (13a)."""
    return SentenceChrf() if name == "chrf" else SentenceBleu()


def utility(texts: Sequence[str], measure: Similarity) -> NDArray[np.float64]:
    """Mean similarity of each text to all of them, equal ones compared once. -> [texts]."""
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    of_text = np.array([place[text] for text in texts])
    weight = np.bincount(of_text) / len(texts)
    return np.asarray((measure.among(distinct) @ weight)[of_text])


class SentenceBleu:
    """See `similarity`."""

    def __init__(self) -> None:
        self.metric = BLEU(effective_order=True, smooth_method="exp", force=True)

    def to(self, ref: str, hyps: Sequence[str]) -> NDArray[np.float64]:
        """See `Similarity`."""
        info = self._info(ref)
        return np.array([self._score(self._plain(hyp), info) for hyp in hyps])

    def among(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """See `Similarity`."""
        plain, infos = [self._plain(text) for text in texts], [self._info(text) for text in texts]
        return np.array([[self._score(text, info) for info in infos] for text in plain])

    def _plain(self, text: str) -> str:
        return self.metric._preprocess_segment(text)

    def _info(self, ref: str) -> dict[str, Any]:
        return self.metric._extract_reference_info([self._plain(ref)])

    def _score(self, plain_hyp: str, info: dict[str, Any]) -> float:
        statistics = self.metric._compute_segment_statistics(plain_hyp, info)
        return float(self.metric._compute_score_from_stats(statistics).score)


class SentenceChrf:
    """See `similarity`. Matches are symmetric, so each two texts are compared once."""

    def __init__(self) -> None:
        self.metric = CHRF()

    def to(self, ref: str, hyps: Sequence[str]) -> NDArray[np.float64]:
        """See `Similarity`."""
        of_ref = self._ngrams(ref)
        return np.array([self._score(self._matches(self._ngrams(hyp), of_ref)) for hyp in hyps])

    def among(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """See `Similarity`."""
        ngrams = [self._ngrams(text) for text in texts]
        similarities = np.zeros((len(texts), len(texts)))
        for i, of_hyp in enumerate(ngrams):
            for j, of_ref in enumerate(ngrams[: i + 1]):
                matches = self._matches(of_hyp, of_ref)
                similarities[i, j] = self._score(matches)
                similarities[j, i] = self._score([(ref, hyp, both) for hyp, ref, both in matches])
        return similarities

    def _ngrams(self, text: str) -> list[Any]:
        """n-gram counts of each order."""
        plain = self.metric._preprocess_segment(text)
        orders: list[Any] = self.metric._extract_reference_info([plain])["ref_ngrams"][0]
        return orders

    def _matches(self, of_hyp: list[Any], of_ref: list[Any]) -> list[Sequence[int]]:
        """n-grams of the translation, of the reference and of both, for each order."""
        orders = zip(of_hyp, of_ref, strict=True)
        return [self.metric._get_match_statistics(hyp, ref) for hyp, ref in orders]

    def _score(self, matches: Sequence[Sequence[int]]) -> float:
        flat = [count for of_order in matches for count in of_order]
        return float(self.metric._compute_f_score(flat))
