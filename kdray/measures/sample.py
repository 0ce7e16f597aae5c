"""Which pairs are measured: the same ones in the same order, however a table is ordered."""

import numpy as np
from numpy.typing import NDArray

from kdray.text.batching import Rows

_SEED = np.uint64(0x6B64726179)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def sample(pair_ids: NDArray[np.int64], most: int) -> Rows:
    """Rows of at most so many pairs: those with the smallest hashes of their ids, smallest first.

    So a sample depends on the set of pairs alone, and a smaller one is the beginning of a larger.
    """
    return np.argsort(_hashes(pair_ids), kind="stable")[:most]


def _hashes(ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea & Flood 2014), which mixes ids that are small or in a row too."""
    mixed = ids.astype(np.uint64) + _SEED
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
