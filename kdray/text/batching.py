"""Which sentence pairs make up each update: a pure function of lengths, seed and epoch.

Pairs are shuffled, sorted by length, cut into batches of about `tokens_per_update` target tokens
and the batches are shuffled. All workers share a batch: each of n takes every n-th of its rows, so
their number changes neither the batches nor their order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Cuts training pairs into batches, in another way for each epoch.

    Attributes:
        src_lengths: source tokens of each pair.
        tgt_lengths: target tokens of each pair.
        tokens_per_update: the most target tokens of a batch; a longer pair is a batch of its own.
        seed: decides the order of pairs of equal length, and the order of the batches.
    """

    src_lengths: Rows
    tgt_lengths: Rows
    tokens_per_update: int
    seed: int

    def epoch(self, number: int) -> list[Rows]:
        """Batches of row numbers. Each pair is in exactly one; every epoch has equally many."""
        rng = np.random.default_rng((self.seed, number))
        shuffled = rng.permutation(len(self.tgt_lengths))
        order = shuffled[np.lexsort((self.src_lengths[shuffled], self.tgt_lengths[shuffled]))]
        batches = np.split(order, cuts(self.tgt_lengths[order], most=self.tokens_per_update))
        return [batches[i] for i in rng.permutation(len(batches))]

    def batches_per_epoch(self) -> int:
        """Number of updates in each epoch."""
        return len(cuts(np.sort(self.tgt_lengths), most=self.tokens_per_update)) + 1


def cuts(lengths: Rows, *, most: int) -> list[int]:
    """Rows before which to cut, so that each part sums to at most `most` or is one longer row."""
    totals = np.cumsum(lengths)
    stops: list[int] = []
    start = before = 0
    while True:
        stop = max(int(np.searchsorted(totals, before + most, side="right")), start + 1)
        if stop >= len(lengths):
            return stops
        stops.append(stop)
        start, before = stop, int(totals[stop - 1])
