"""Teacher translations: one Arrow row for each, best first within a pair.

A teacher that only knows text leaves a table without `hyp_ids`; recoding adds the students' own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key, Source, keys_among
from kdray.config.signals import HypothesesConfig
from kdray.errors import StageFailed
from kdray.jobs import Build, Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.teacher.engine import Engine, Teacher, translate
from kdray.text.batching import Rows
from kdray.text.pairing import source_hashes
from kdray.text.sequences import Sequences, id_type, read_table, write_table
from kdray.text.tokenizer import Tokenizer

VERSION = 2
FILE = "hypotheses.arrow"


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Stored translations: the best of each pair, or all, those of a pair together, best first.

    table, places: where the texts are, which are read only when they are asked for.
    """

    pair_ids: NDArray[np.int64]
    src_hashes: NDArray[np.int64]
    ids: Sequences
    finished: NDArray[np.bool_]
    ranks: NDArray[np.int32]
    table: pa.Table
    places: Rows

    @classmethod
    def load(cls, folder: Path, *, best_only: bool = True) -> "Hypotheses":
        """Read a published artifact.

        Raises:
            DataError: the file is missing or damaged.
        """
        table = read_table(folder / FILE)
        ranks = table[Column.HYP_RANK].to_numpy()
        places = np.flatnonzero(ranks == 0) if best_only else np.arange(len(ranks))
        ids = Sequences.from_column(table[Column.HYP_IDS])
        return cls(
            pair_ids=table[Column.PAIR_ID].to_numpy()[places],
            src_hashes=table[Column.SRC_HASH].to_numpy()[places],
            ids=ids if len(places) == len(ids) else ids.take(places),
            finished=table[Column.FINISHED].to_numpy(zero_copy_only=False)[places],
            ranks=ranks[places],
            table=table,
            places=places,
        )

    def texts(self, rows: Rows) -> list[str]:
        """Translations as text."""
        chosen = self.table[Column.HYP].take(pa.array(self.places[rows]))
        return [str(text) for text in chosen.to_pylist()]


@dataclass(frozen=True, slots=True)
class TranslationJob:
    """Translate the training sources with the teacher. Sharded; see `kdray.jobs`.

    Sources that are too long for the teacher go to quarantine: they are counted, without a row.
    """

    teacher: Teacher
    corpus: Key
    config: HypothesesConfig
    encoded: Key  # in the teacher's pieces, if it has some: a part of the identity

    @property
    def key(self) -> Key:
        """Of the teacher, its beam search and the text as it reads it."""
        read = self.encoded if self.teacher.has_pieces else self.corpus
        inputs = {**self.teacher.identity, read.stage: read.fingerprint}
        return Key("hypotheses", VERSION, self.config.model_dump(mode="json"), inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus and the teacher."""
        return keys_among(self.corpus, *self.teacher.sources)

    @property
    def on_gpu(self) -> bool:
        """Whether the teacher gains from a GPU."""
        return self.teacher.on_gpu

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Make what the teacher's processes share. -> the number of training pairs."""
        self.teacher.prepare(work, fetch, device=device)
        return int(pq.read_metadata(_training_pairs(fetch(self.corpus))).num_rows)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """A teacher that translates rows of the corpus.

        Raises:
            DataError: what the teacher is made of is missing or damaged.
        """
        engine = self.teacher.open(fetch, device=device, threads=1, work=work)
        return partial(self._translate, engine, _training_pairs(fetch(self.corpus)))

    def _translate(
        self, engine: Engine, pairs: Path, start: int, stop: int, folder: Path
    ) -> Counts:
        began = time.perf_counter()
        table = read_rows(pairs, start, stop)
        src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
        options = SearchOptions(**self.config.model_dump())
        translations = translate(engine, src, options, refs)
        pairs_of = np.repeat(np.arange(len(src)), [len(best) for best in translations])
        rows = [(rank, hyp) for best in translations for rank, hyp in enumerate(best)]
        columns = {
            Column.PAIR_ID: pa.array(table[Column.PAIR_ID].to_numpy()[pairs_of]),
            Column.SRC_HASH: pa.array(source_hashes(src)[pairs_of]),
            Column.HYP_RANK: pa.array([rank for rank, _ in rows], pa.int32()),
            Column.HYP: pa.array([hyp.text for _, hyp in rows], pa.large_string()),
            Column.HYP_SCORE: pa.array([hyp.score for _, hyp in rows], pa.float32()),
            Column.FINISHED: pa.array([hyp.finished for _, hyp in rows], pa.bool_()),
        }
        made, counts = pa.table(columns), dict[str, int]()
        if engine.vocabulary is not None:
            ids = [hyp.ids for _, hyp in rows]
            made, counts["tokens"] = _with_ids(made, ids, vocabulary=engine.vocabulary)
        write_table(folder / FILE, made)
        translated = sum(bool(best) for best in translations)
        return {
            "pairs": translated,
            "unfinished": sum(not hyp.finished for rank, hyp in rows if rank == 0),
            "quarantined": len(translations) - translated,
            **counts,
            "seconds": time.perf_counter() - began,
        }

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Put the finished shards together in the corpus's order. -> counts.

        Raises:
            StageFailed: the pairs are not exactly those of the corpus less the quarantined ones.
        """
        corpus = pq.read_table(_training_pairs(fetch(self.corpus)), columns=[Column.PAIR_ID])
        return join_tables(shards, counts, folder, wanted=corpus[Column.PAIR_ID].to_numpy())


@dataclass(frozen=True, slots=True)
class RecodingJob:
    """Write translations in the pieces of another tokenizer, for students with their own."""

    hypotheses: Key
    tokenizer: Source
    encoded: Key  # in those pieces: a part of the identity
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """Of the translations and the pieces."""
        inputs = {"hypotheses": self.hypotheses, "encoded": self.encoded}
        return Key("recoded", VERSION, {}, {k: v.fingerprint for k, v in inputs.items()})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations and the tokenizer."""
        return keys_among(self.hypotheses, self.tokenizer)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Fill the folder. -> counts."""
        table = read_table(fetch(self.hypotheses) / FILE)
        tokenizer = Tokenizer.load(fetch(self.tokenizer))
        ids = tokenizer.encode_tgt(table[Column.HYP].to_pylist())
        others = table.select([name for name in table.column_names if name != Column.HYP_IDS])
        recoded, tokens = _with_ids(others, ids, vocabulary=tokenizer.tgt_vocab)
        write_table(folder / FILE, recoded)
        return {"translations": table.num_rows, "tokens": tokens}


def join_tables(
    shards: Sequence[Path], counts: Sequence[Counts], folder: Path, *, wanted: NDArray[np.int64]
) -> Counts:
    """Put the translations of the wanted pairs, which are cut into shards, one after another.

    Raises:
        StageFailed: the pairs are not exactly the wanted ones, less those in quarantine, in order.
    """
    table = pa.concat_tables([read_table(shard / FILE) for shard in shards])
    total = sum_counts(counts)
    pair_ids = table[Column.PAIR_ID].to_numpy()[table[Column.HYP_RANK].to_numpy() == 0]
    quarantined = total.get("quarantined", 0)
    in_order = wanted[np.isin(wanted, pair_ids)]
    if len(pair_ids) + quarantined != len(wanted) or not np.array_equal(pair_ids, in_order):
        raise StageFailed(
            f"{shards[0].parent}: translations of {len(pair_ids)} pairs and {quarantined} in "
            f"quarantine do not make up the {len(wanted)} that there must be, in their order; "
            "remove the folder and run again"
        )
    write_table(folder / FILE, table)
    return total


def sum_counts(counts: Sequence[Counts]) -> dict[str, Any]:
    """Sum each count over the shards."""
    return {name: sum(each[name] for each in counts) for name in (counts[0] if counts else {})}


def read_rows(path: Path, start: int, stop: int) -> pa.Table:
    """Rows start to stop of a Parquet file; row groups without any of them are not read."""
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    begins = np.append(0, np.cumsum(sizes))
    groups = [i for i, begin in enumerate(begins[:-1]) if begin < stop and start < begins[i + 1]]
    return file.read_row_groups(groups).slice(start - begins[groups[0]], stop - start)


def _training_pairs(corpus: Path) -> Path:
    return corpus / f"{Split.TRAIN}.parquet"


def _with_ids(
    table: pa.Table, ids: Sequence[Sequence[int] | None], *, vocabulary: int
) -> tuple[pa.Table, int]:
    """A table of translations with their pieces behind their texts. -> it, number of pieces."""
    column = pa.array(ids, pa.list_(id_type(vocabulary)))
    place = table.schema.get_field_index(Column.HYP) + 1
    return table.add_column(place, Column.HYP_IDS, column), len(column.flatten())
