"""The step that reads the gate of a finished student on the first pairs of dev."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.artifacts import Fetch, Key, keys_among
from kdray.errors import StageFailed
from kdray.fit.sentence_gates import GatedStudent, GateRow, Pairs
from kdray.jobs import Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.teacher.engine import Teacher
from kdray.text.corpus import Corpus

VERSION = 1
PAIRS = 500
"""How many pairs of dev are looked at, from its first one on."""
FILE = "gates.parquet"
_WORDS = "words"
_COLUMNS = ("gate", "token_loss", "sentence_loss", "entropy", Column.SRC)


@dataclass(frozen=True, slots=True)
class GateJob:
    """Read g, both losses and the teacher's entropy sentence by sentence; see `GateRow`.

    updates: that the student was trained for. search: how its teacher translates.
    """

    student: Key
    updates: int
    teacher: Teacher
    corpus: Key
    search: SearchOptions
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the student, its teacher, the corpus and the search."""
        recipe = {"pairs": PAIRS, "search": self.search.identity()}
        inputs = {
            **self.teacher.identity,
            "student": self.student.fingerprint,
            "corpus": self.corpus.fingerprint,
        }
        return Key("gates", VERSION, recipe, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The student, its teacher, and the corpus."""
        return keys_among(self.student, self.corpus, *self.teacher.sources)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `gates.parquet`, a row for each pair that can be read. -> what they say as a whole.

        Raises:
            StageFailed: student and teacher can read none of the pairs together.
        """
        pairs = self.dev(fetch, most=PAIRS)
        with self.opened(fetch, threads=threads) as gated:
            rows, left_out = gated.read_what_fits(pairs)
            positions = gated.positions
        if not rows:
            raise StageFailed(
                f"the gate cannot be read: student and teacher read {positions} tokens at most "
                f"(their max_length), and each of the first {len(pairs)} dev pairs has a longer "
                "side; put shorter pairs into dev"
            )
        write_rows(folder / FILE, rows)
        return {"sentences": len(rows), "left_out": left_out, **summary(rows)}

    def dev(self, fetch: Fetch, *, most: int | None = None) -> Pairs:
        """The first pairs of dev, or all of them."""
        table = Corpus(fetch(self.corpus)).table(Split.DEV).slice(0, most)
        sides = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
        return list(zip(*sides, strict=True))

    @contextmanager
    def opened(self, fetch: Fetch, *, threads: int) -> Iterator[GatedStudent]:
        """The student and its teacher, ready to read sentences.

        Raises:
            DataError: a file of theirs is missing or damaged.
        """
        with tempfile.TemporaryDirectory() as work:
            self.teacher.prepare(Path(work), fetch, device="cpu")
            yield GatedStudent(
                fetch(self.student),
                self.teacher,
                fetch,
                work=Path(work),
                options=self.search,
                updates=self.updates,
                threads=threads,
            )


def write_rows(path: Path, rows: Sequence[GateRow]) -> None:
    """Write a table with a row for each sentence."""
    columns = {name: [getattr(row, name) for row in rows] for name in (_WORDS, *_COLUMNS)}
    pq.write_table(pa.table(columns), path)


def read_rows(path: Path) -> list[GateRow]:
    """What `write_rows` wrote."""
    return [GateRow(**row) for row in pq.read_table(path, columns=list(_COLUMNS)).to_pylist()]


def summary(rows: Sequence[GateRow]) -> dict[str, float | None]:
    """Mean and standard deviation of g, and its rank correlations, by Spearman.

    Those are None where g or the other side is the same for all sentences.
    """
    gates = [row.gate for row in rows]
    return {
        "mean": round(float(np.mean(gates)), 6),
        "sd": round(float(np.std(gates)), 6),
        "correlation_with_length": _rank_correlation(gates, [row.words for row in rows]),
        "correlation_with_entropy": _rank_correlation(gates, [row.entropy for row in rows]),
    }


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr  # slow to import, and every plan imports this file

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return round(float(spearmanr(one, other).statistic), 6)
