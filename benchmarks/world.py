"""What stands for real data where time is measured: sentences of random ids.

Lengths are log-normal with mean 14, like those of Multi30k, and a source is about as long as its
reference. Within each batch the hypotheses have the lengths of the references in another order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdray.schema import View
from kdray.teacher.stored import offsets_of
from kdray.text.batching import BatchPlan, Rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

MEAN_LENGTH, SPREAD = 14, 0.4  # tokens of a sentence, and the deviation of their logarithm


@dataclass(frozen=True)
class World:
    """Random sentences, cut into batches that all who are compared share."""

    vocabulary: int
    src: Sequences
    views: Mapping[View, Sequences]
    batches: Sequence[Rows]

    @classmethod
    def make(cls, *, vocabulary: int, tokens: int, batches: int, seed: int = 1) -> "World":
        """As many batches of about `tokens` target tokens; see the module."""
        rng = np.random.default_rng(seed)
        count = math.ceil((batches + 1) * tokens / MEAN_LENGTH)
        mean = math.log(MEAN_LENGTH) - SPREAD**2 / 2
        ref = np.clip(np.rint(rng.lognormal(mean, SPREAD, count)), 2, 60).astype(np.int64)
        src = np.clip(np.rint(ref * rng.lognormal(0, 0.15, count)), 2, 60).astype(np.int64)
        plan = BatchPlan(src_lengths=src, tgt_lengths=ref, tokens_per_update=tokens, seed=seed)
        full = [rows for rows in plan.epoch(0) if ref[rows].sum() > tokens / 2][:batches]
        hyp = ref.copy()
        for rows in full:
            hyp[rows] = ref[rng.permutation(rows)]

        def ids(lengths: Rows) -> Sequences:
            offsets = offsets_of(lengths)
            values = rng.integers(EOS + 1, vocabulary, int(offsets[-1]))
            values[offsets[1:] - 1] = EOS
            return Sequences(values, offsets)

        views = {View.REFERENCE: ids(ref), View.HYPOTHESIS: ids(hyp)}
        return cls(vocabulary, ids(src), views, full)

    def sizes(self) -> list[tuple[int, int, int, int]]:
        """Of each batch: rows, longest source, longest target, target tokens."""
        src, tgt = self.src.lengths, self.views[View.REFERENCE].lengths
        return [
            (len(rows), int(src[rows].max()), int(tgt[rows].max()), int(tgt[rows].sum()))
            for rows in self.batches
        ]
