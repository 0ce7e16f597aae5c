"""Sentences of random ids, which replace real data where only time is measured.

Lengths are log-normal with mean 14, like those of Multi30k, and a source is about as long as its
reference. Within each batch the hypotheses have the lengths of the references in another order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from flops import Size

from kdray.schema import Column, Split, View
from kdray.text.batching import BatchPlan, Rows
from kdray.text.sequences import Sequences, id_type, offsets_of, write_table
from kdray.text.tokenizer import EOS

MEAN_LENGTH, SPREAD = 14, 0.4  # tokens of a sentence, and the deviation of their logarithm


@dataclass(frozen=True)
class World:
    """Random sentences, cut into batches that are the same for all that is compared."""

    vocabulary: int
    src: Sequences
    views: Mapping[View, Sequences]
    batches: Sequence[Rows]

    @classmethod
    def make(cls, *, vocabulary: int, tokens: int, batches: int, seed: int = 1) -> "World":
        """Make batches of about `tokens` target tokens; see the docstring of this file."""
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

    def sizes(self) -> list[Size]:
        """The size of each batch."""
        return [size_of(self.src, self.views[View.REFERENCE], rows) for rows in self.batches]

    def write(self, folder: Path) -> None:
        """Write the pairs of the batches as the training split of an encoded corpus.

        Training cuts them into the same batches again, except that pairs of equal lengths may swap.
        """
        rows = np.concatenate(self.batches)

        def column(ids: Sequences) -> pa.ListArray:
            taken = ids.take(rows)
            values = pa.array(taken.values, id_type(self.vocabulary))
            return pa.ListArray.from_arrays(pa.array(taken.offsets, pa.int32()), values)

        columns = {
            Column.PAIR_ID: pa.array(rows),
            Column.SRC_HASH: pa.array(rows),  # of no text
            Column.SRC_IDS: column(self.src),
            Column.REF_IDS: column(self.views[View.REFERENCE]),
        }
        write_table(folder / f"{Split.TRAIN}.arrow", pa.table(columns))


def size_of(src: Sequences, tgt: Sequences, rows: Rows) -> Size:
    """The size of a batch of these rows."""
    src_lengths, tgt_lengths = src.lengths[rows], tgt.lengths[rows]
    longest = int(src_lengths.max()), int(tgt_lengths.max())
    return len(rows), *longest, int(tgt_lengths.sum())
