"""Which sentence pairs make up each update: a pure function of lengths, seed and epoch.

Pairs are shuffled, sorted by length, cut into batches of about `tokens_per_update` target tokens
and the batches are shuffled. A batch belongs to the whole cluster: workers take every n-th of its
rows, so that their number changes neither the batches nor their order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The order of training data.

    Attributes:
        src_lengths: source tokens of each pair.
        tgt_lengths: target tokens of each pair; these are counted.
        tokens_per_update: aim for each batch, which never exceeds it unless one pair does.
        seed: decides ties of length and the order of batches.
    """

    src_lengths: Rows
    tgt_lengths: Rows
    tokens_per_update: int
    seed: int

    def epoch(self, number: int) -> list[Rows]:
        """The batches of an epoch. Each pair is in exactly one; their count never changes."""
        rng = np.random.default_rng((self.seed, number))
        shuffled = rng.permutation(len(self.tgt_lengths))
        order = shuffled[np.lexsort((self.src_lengths[shuffled], self.tgt_lengths[shuffled]))]
        batches = np.split(order, cuts(self.tgt_lengths[order], most=self.tokens_per_update))
        return [batches[i] for i in rng.permutation(len(batches))]

    def batches_per_epoch(self) -> int:
        """Number of updates in each epoch."""
        return len(cuts(np.sort(self.tgt_lengths), most=self.tokens_per_update)) + 1


def cuts(lengths: Rows, *, most: int) -> list[int]:
    """Where to cut so that each part sums to at most `most`, or is one row that is longer."""
    totals = np.cumsum(lengths)
    places: list[int] = []
    start, before = 0, 0
    while True:
        stop = int(np.searchsorted(totals, before + most, side="right"))
        stop = max(stop, start + 1)
        if stop >= len(lengths):
            return places
        places.append(stop)
        start, before = stop, int(totals[stop - 1])
