"""Dev and test sets as a corpus has them: whole, in their order, never cleaned."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.errors import DataError
from kdray.schema import Column
from kdray.text.cleaning import Pair, stripped
from kdray.text.compared import compared
from kdray.text.corpus import PAIR_SCHEMA
from kdray.text.judging import pair_id


@dataclass(frozen=True, slots=True)
class Stream:
    """The pairs of a split before cleaning.

    Attributes:
        split: its name.
        place: what messages call it.
        rows: source, reference, entropy of the reference in nats.
        first_line: number of the line of the first pair.
    """

    split: str
    place: str
    rows: Iterable[tuple[str, str, float]]
    first_line: int = 1

    def pairs(self) -> Iterator[tuple[Pair, float]]:
        """Stripped pairs and their entropies.

        Raises:
            DataError: it has none, or one with an empty side.
        """
        line = self.first_line - 1
        for line, (raw_src, raw_ref, entropy) in enumerate(self.rows, start=self.first_line):
            src, ref = stripped((raw_src, raw_ref))
            if not compared(src) or not compared(ref):
                side, text = ("target", ref) if compared(src) else ("source", src)
                unseen = f" but for {text!a}, which nobody sees" if text else ""
                raise DataError(
                    f"{self.place}, line {line}: the {side} side is empty{unseen}; fill it, or "
                    "remove the line from both sides"
                )
            yield (src, ref), entropy
        if line < self.first_line:
            raise DataError(f"{self.place}: holds no pairs; name a source that has some")


@dataclass(frozen=True, slots=True)
class Totals:
    """Pairs of a split, words of both sides, and its entropy in nats."""

    pairs: int
    words: tuple[int, int]
    entropy: float

    def mean_words(self) -> dict[str, float]:
        """Words of a sentence, as white space separates them, on both sides."""
        sides = zip((Column.SRC.value, Column.REF.value), self.words, strict=True)
        return {side: words / self.pairs for side, words in sides}


def write_held_out(stream: Stream, folder: Path) -> tuple[list[Pair], list[int], Totals]:
    """Write the table of a dev or test set. -> its pairs, their pair_ids, totals.

    Raises:
        DataError: it has no pairs, or one with an empty side.
    """
    pairs, entropy, seen = list[Pair](), 0.0, Counter[Pair]()
    ids: list[int] = []
    for pair, nats in stream.pairs():
        ids.append(pair_id(*pair, occurrence=seen[pair]))
        seen[pair] += 1
        pairs.append(pair)
        entropy += nats
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    table = pa.table([pa.array(ids, pa.int64()), *sides], schema=PAIR_SCHEMA)
    pq.write_table(table, folder / f"{stream.split}.parquet", compression="zstd")
    words = [sum(len(text.split()) for text in side) for side in sides]
    return pairs, ids, Totals(len(pairs), (words[0], words[1]), entropy)
