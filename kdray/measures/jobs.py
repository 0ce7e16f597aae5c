"""The two steps that measure a scenario: its text, which is light, and its teacher."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from kdray.artifacts import Fetch, Key, keys_among, write_json
from kdray.jobs import Counts
from kdray.measures.measure import Absent, Measures, below, from_json, to_json
from kdray.measures.sample import sample
from kdray.measures.teacher import (
    BEAM,
    READ_PAIRS,
    SEARCHED_PAIRS,
    reading_measures,
    search_measures,
)
from kdray.measures.text import PAIRS, text_measures
from kdray.methods.online import OnlineTeacher
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.teacher.engine import Engine, Teacher
from kdray.teacher.references import read_references
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import check_pairs, join, source_hashes
from kdray.text.pieces import check_pieces

VERSION = 1
FILE = "complexity.json"
_MEASURES = "measures"


@dataclass(frozen=True, slots=True)
class TextComplexityJob:
    """Measure the training text of a corpus."""

    corpus: Key
    encoded: Key
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """Of the text and its pieces."""
        return Key("complexity", VERSION, {"pairs": PAIRS}, {"encoded": self.encoded.fingerprint})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The text and its pieces."""
        return (self.corpus, self.encoded)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `complexity.json`. -> the measures."""
        table = Corpus(fetch(self.corpus)).table(Split.TRAIN)
        encoded = EncodedSplit.load(fetch(self.encoded), Split.TRAIN)
        return _written(folder, text_measures(table, encoded))


@dataclass(frozen=True, slots=True)
class TeacherComplexityJob:
    """Measure what a teacher that gives distributions makes of training pairs and of dev.

    `encoded` is in the teacher's vocabulary.
    """

    teacher: Teacher
    corpus: Key
    encoded: Key
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the teacher and the pairs that it reads and translates."""
        sizes = {"read": READ_PAIRS, "searched": SEARCHED_PAIRS, "beam": BEAM}
        inputs = {**self.teacher.identity, "encoded": self.encoded.fingerprint}
        return Key("teacher_complexity", VERSION, sizes, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The text, its pieces, and the teacher."""
        return keys_among(self.corpus, self.encoded, *self.teacher.sources)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `complexity.json`. -> the measures."""
        corpus, measures = Corpus(fetch(self.corpus)), dict[str, float | Absent]()
        with tempfile.TemporaryDirectory() as work:
            self.teacher.prepare(Path(work), fetch, device="cpu")
            engine = self.teacher.open(fetch, device="cpu", threads=threads, work=Path(work))
            reader = self.teacher.reader(fetch, device="cpu")
            assert reader is not None, "the plan was checked for this"
            for split in (Split.TRAIN, Split.DEV):
                encoded = EncodedSplit.load(fetch(self.encoded), split)
                pieces = self.teacher.tokenizer_checksum(fetch)
                check_pieces(encoded.pieces, pieces, what=fetch(self.encoded), of="the teacher")
                measures |= below(split, self._measure(corpus, encoded, split, engine, reader))
        return _written(folder, measures)

    def _measure(
        self,
        corpus: Corpus,
        encoded: EncodedSplit,
        split: Split,
        engine: Engine,
        reader: OnlineTeacher,
    ) -> Measures:
        rows, table = sample(encoded.pair_ids, READ_PAIRS), corpus.table(split)
        wanted = encoded.pair_ids[rows]
        table = table.take(join(wanted, table[Column.PAIR_ID].to_numpy(), what=str(corpus.path)))
        src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
        hashes = encoded.src_hashes[rows]
        check_pairs(source_hashes(src), hashes, wanted, what=str(corpus.path))
        longest = np.maximum(encoded.src.lengths[rows], encoded.ref.lengths[rows])
        fits = np.flatnonzero(longest <= reader.positions)
        read = read_references(
            reader, encoded.src, encoded.ref, rows[fits], by_perplexity=self.teacher.by_perplexity
        )
        words = np.array([len(refs[row].split()) for row in fits], dtype=np.int64)
        options = SearchOptions(beam=BEAM, num_hyps=BEAM, length_penalty=0.0)
        best = engine.translate(src[:SEARCHED_PAIRS], options, refs[:SEARCHED_PAIRS])
        return {
            "pairs": len(fits),
            **reading_measures(*read, encoded.ref.lengths[rows[fits]], words),
            **search_measures(best),
        }


def measures_in(counts: Counts) -> dict[str, float | Absent]:
    """The measures that a record holds."""
    values: Mapping[str, object] = counts[_MEASURES]
    return from_json(values)


def _written(folder: Path, measures: Measures) -> Counts:
    values = to_json(measures)
    write_json(folder / FILE, values)
    return {_MEASURES: values}
