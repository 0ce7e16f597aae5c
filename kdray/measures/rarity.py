"""How rare are the words of a sentence in the training text? By the frequencies of its pieces.

A word that is rare is rare as a piece, or is cut into several. So the surprise of a sentence's
pieces, each taken by itself, is added up and divided by the number of its words. This needs counts
of pieces alone, and serves scripts without spaces too, where each character is a word.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdray.text.tokenizer import EOS, Tokenizer
from kdray.text.words import words_of


def rarity(pieces: NDArray[np.int64], lines: Sequence[str], tokenizer: Tokenizer) -> list[float]:
    """Mean surprise of each line's words, in bits.

    Args:
        pieces: how often each piece occurs in the training sources; those after the last have
            none. A piece that was never seen counts as seen half a time.
        lines: sources.
        tokenizer: whose pieces these are.
    """
    counts = np.zeros(max(tokenizer.src_vocab, len(pieces)))
    counts[: len(pieces)] = pieces
    counts[EOS] = 0
    surprise = -np.log2(np.maximum(counts, 0.5) / max(counts.sum(), 1))
    surprise[EOS] = 0
    sums = (surprise[ids].sum() for ids in tokenizer.encode_src(list(lines)))
    words = (max(len(words_of(line)), 1) for line in lines)
    return [float(total / number) for total, number in zip(sums, words, strict=True)]
