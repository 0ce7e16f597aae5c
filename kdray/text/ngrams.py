"""A small n-gram language model: trigrams, interpolated, with absolute discounting.

Ney, Essen and Kneser (1994), On structuring probabilistic dependences in stochastic language
modelling: with c(h w) the count of word w after the words h, and N(h) the number of different words
that were seen after them,

    p(w | h) = (max(c(h w) - D, 0) + D N(h) p(w | h')) / c(h)

where h' is h without its first word, and what stands below unigrams is 1 / V. For a history that
was never seen it is p(w | h'). D is n1 / (n1 + 2 n2) for each order, of the numbers of n-grams that
were seen once and twice. Words out of the vocabulary are one word, <unk>.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER = 3
BEGIN, END, UNKNOWN = 0, 1, 2
_BITS = 21  # of a word in the number that names an n-gram: two million words
Ids = NDArray[np.int64]


def vocabulary(sentences: Iterable[Sequence[str]]) -> dict[str, int]:
    """A number for each word that occurs twice; those that occur once stand for unknown ones."""
    counts = Counter(word for sentence in sentences for word in sentence)
    words = sorted(word for word, count in counts.items() if count > 1)
    return {word: number for number, word in enumerate(words[: 2**_BITS - 3], start=3)}


def positions(sentences: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> tuple[Ids, Ids]:
    """Each word, and the end of each sentence, behind the two before it. -> [N, 3], lengths [S]."""
    ids = [[vocabulary.get(word, UNKNOWN) for word in sentence] for sentence in sentences]
    padded = [np.array([BEGIN, BEGIN, *sentence, END], dtype=np.int64) for sentence in ids]
    rows = [np.stack((each[:-2], each[1:-1], each[2:]), axis=1) for each in padded]
    empty = np.zeros((0, ORDER), dtype=np.int64)
    return np.concatenate([empty, *rows]), np.array([len(each) for each in rows], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one order, by their numbers, and what is known of their histories."""

    grams: Ids
    counts: Ids
    histories: Ids
    totals: Ids
    kinds: Ids  # N(h)
    discount: float


class NgramModel:
    """The model of some sentences."""

    def __init__(self, sentences: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary
        rows, _ = positions(sentences, vocabulary)
        self._orders = [_order(rows[:, ORDER - n :]) for n in range(1, ORDER + 1)]

    def cross_entropy(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """Nats for each word, with the end of the sentence as one. -> [S]."""
        rows, lengths = positions(sentences, self._vocabulary)
        nats = -np.log(self._probabilities(rows))
        ends = np.concatenate((np.zeros(1), np.cumsum(nats)))[np.cumsum(lengths)]
        return np.asarray(np.diff(ends, prepend=0.0) / lengths)

    def _probabilities(self, rows: Ids) -> NDArray[np.float64]:
        """Of the last word of each row after those before it."""
        p = np.full(len(rows), 1.0 / (len(self._vocabulary) + 2))  # with END and UNKNOWN
        for n, order in enumerate(self._orders, start=1):
            grams = rows[:, ORDER - n :]
            counts = _looked_up(order.grams, order.counts, _number(grams))
            history = _number(grams[:, :-1])
            totals = _looked_up(order.histories, order.totals, history)
            kinds = _looked_up(order.histories, order.kinds, history)
            seen = totals > 0
            discounted = np.maximum(counts - order.discount, 0.0) + order.discount * kinds * p
            p = np.where(seen, discounted / np.maximum(totals, 1), p)
        return p


def _order(rows: Ids) -> _Order:
    grams, counts = np.unique(_number(rows), return_counts=True)
    histories, inverse = np.unique(grams >> _BITS, return_inverse=True)
    totals = np.bincount(inverse, weights=counts, minlength=len(histories)).astype(np.int64)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once else 0.5
    return _Order(grams, counts, histories, totals, np.bincount(inverse), min(discount, 0.99))


def _number(rows: Ids) -> Ids:
    """One number for the words of each row; 0 where there are none."""
    number = np.zeros(len(rows), dtype=np.int64)
    for word in rows.T:
        number = (number << _BITS) | word
    return number


def _looked_up(keys: Ids, values: Ids, wanted: Ids) -> Ids:
    """The value of each key, 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
