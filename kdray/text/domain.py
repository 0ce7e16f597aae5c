"""Which sentences of a large text are most like a small text of a domain?

By the difference of cross-entropy (Moore and Lewis 2010, Intelligent selection of language model
training data): H_in(s) - H_any(s), in nats for each word, where the first model learned the text of
the domain and the second as many sentences of the large text. The lowest are the most similar.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kdray.text.ngrams import NgramModel, vocabulary
from kdray.text.words import words_of

_AT_A_TIME = 10_000


def most_similar(
    in_domain: Iterable[str], sentences: Callable[[], Iterator[str]], *, keep: int
) -> NDArray[np.bool_]:
    """Which of the sentences are chosen: `keep` of them, or all if there are fewer.

    `sentences` gives them anew each time; they are gone through twice, and never held together. Of
    equal ones the first are chosen.
    """
    domain = [_words(text) for text in in_domain]
    known = vocabulary(domain)
    models = (
        NgramModel(domain, known),
        NgramModel([_words(text) for text in _sample(sentences(), len(domain))], known),
    )
    scores, texts = [np.zeros(0)], sentences()
    while some := [_words(text) for text in islice(texts, _AT_A_TIME)]:
        inside, outside = (model.cross_entropy(some) for model in models)
        scores.append(inside - outside)
    every = np.concatenate(scores)
    chosen = np.zeros(len(every), dtype=bool)
    chosen[np.argsort(every, kind="stable")[:keep]] = True
    return chosen


def _words(text: str) -> list[str]:
    return words_of(text.lower())


def _sample(sentences: Iterator[str], size: int) -> list[str]:
    """So many of them, those with the smallest hashes, which do not depend on their order."""
    return heapq.nsmallest(size, sentences, key=_hash)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8, person=b"domain").digest()
