"""Teacher translations: one Arrow row for each, best first within a pair.

A folder of them holds one table, or the shards that it was made in, each in a folder of its own.
A teacher that only knows text leaves a table without `hyp_ids`; recoding adds the students' own.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.artifacts import RECORD, Fetch, Key, Source, keys_among
from kdray.errors import StageFailed
from kdray.jobs import Counts
from kdray.schema import Column
from kdray.text.batching import Rows
from kdray.text.pairing import check_pairs, join, source_hashes
from kdray.text.pieces import check_pieces, of_pieces, pieces_of
from kdray.text.sequences import Sequences, id_type, read_table, write_table
from kdray.text.tokenizer import Tokenizer

FILE = "hypotheses.arrow"
SHARD = "[0-9]" * 6
"""The names of the folders of shards."""
RECODED = 2
"""The version of `RecodingJob`."""


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Stored translations: the best of each pair, or all, those of a pair together, best first.

    table, places: where the texts are, which are read only when they are asked for. pieces: the
    checksum of the tokenizer whose ids they are, if it is known.
    """

    pair_ids: NDArray[np.int64]
    src_hashes: NDArray[np.int64]
    ids: Sequences
    finished: NDArray[np.bool_]
    ranks: NDArray[np.int32]
    table: pa.Table
    places: Rows
    pieces: str | None = None

    @classmethod
    def load(cls, folder: Path, *, best_only: bool = True) -> "Hypotheses":
        """Read a published artifact.

        Raises:
            DataError: the file is missing or damaged.
        """
        table = read_translations(folder)
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
            pieces=pieces_of(table),
        )

    @property
    def first(self) -> Rows:
        """Where the translations of each pair begin, and where the last one's end."""
        return np.append(np.flatnonzero(self.ranks == 0), len(self.ranks))

    def rows_in(self, corpus: pa.Table, *, what: str) -> Rows:
        """The row of each translation's pair among the training pairs of a corpus.

        what: they are, in messages.

        Raises:
            DataError: a pair is not there, or its source is not the one that was translated.
        """
        rows = join(self.pair_ids, corpus[Column.PAIR_ID].to_numpy(), what="the corpus")
        hashes = source_hashes(corpus[Column.SRC].to_pylist())[rows]
        check_pairs(self.src_hashes, hashes, self.pair_ids, what=what)
        return rows

    def texts(self, rows: Rows) -> list[str]:
        """Translations as text."""
        chosen = self.table[Column.HYP].take(pa.array(self.places[rows]))
        return [str(text) for text in chosen.to_pylist()]


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
        return Key("recoded", RECODED, {}, {k: v.fingerprint for k, v in inputs.items()})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations and the tokenizer."""
        return keys_among(self.hypotheses, self.tokenizer)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Fill the folder. -> counts."""
        table = read_translations(fetch(self.hypotheses))
        tokenizer = Tokenizer.load(fetch(self.tokenizer))
        ids = tokenizer.encode_tgt(table[Column.HYP].to_pylist())
        others = table.select([name for name in table.column_names if name != Column.HYP_IDS])
        recoded, tokens = with_ids(others, ids, vocabulary=tokenizer.tgt_vocab)
        recoded = of_pieces(recoded, tokenizer.checksum)
        write_table(folder / FILE, recoded)
        return {"translations": table.num_rows, "tokens": tokens}


def read_translations(folder: Path) -> pa.Table:
    """Map the table of a folder, or those of its shards one after another.

    Raises:
        DataError: a file is missing or damaged, or the ids of two shards are of different pieces.
    """
    shards = sorted(folder.glob(f"{SHARD}/{FILE}"))
    if not shards:
        return read_table(folder / FILE)
    tables = [read_table(shard) for shard in shards]
    for table in tables:
        check_pieces(pieces_of(table), pieces_of(tables[0]), what=folder, of=shards[0].parent.name)
    return pa.concat_tables(tables)


def join_shards(
    shards: Sequence[Path],
    counts: Sequence[Counts],
    folder: Path,
    *,
    wanted: Iterable[NDArray[np.int64]],
    file: str = FILE,
) -> Counts:
    """Take finished shards into a folder as they are, once they are proved to be whole. -> counts.

    Nothing is copied where files can have two names, and one shard at a time is looked at.
    wanted: the pairs of each shard, in their order.

    Raises:
        DataError: the ids of two shards are of different pieces.
        StageFailed: the pairs of a shard are not exactly the wanted ones, less those in quarantine.
    """
    pieces = None
    for shard, of_shard, pairs in zip_longest(shards, counts, wanted):
        if shard is None or pairs is None:
            raise StageFailed(
                f"{shards[0].parent if shards else folder}: there are {len(shards)} shards, and "
                "not as many as the pairs ask for; remove the folder and run again"
            )
        table = read_table(shard / file)
        pieces = pieces or pieces_of(table)
        check_pieces(pieces_of(table), pieces, what=shard.parent, of="the shard before it")
        pair_ids = table[Column.PAIR_ID].to_numpy()[table[Column.HYP_RANK].to_numpy() == 0]
        quarantined = of_shard.get("quarantined", 0) + of_shard.get("below", 0)
        in_order = pairs[np.isin(pairs, pair_ids)]
        if len(pair_ids) + quarantined != len(pairs) or not np.array_equal(pair_ids, in_order):
            raise StageFailed(
                f"{shard}: translations of {len(pair_ids)} pairs and {quarantined} in quarantine "
                f"do not make up the {len(pairs)} that there must be, in their order; remove the "
                "folder and run again"
            )
        place = folder / shard.name
        place.mkdir()
        for path in shard.iterdir():
            if path.name != RECORD:
                _link(path, place / path.name)
    return sum_counts(counts)


def _link(path: Path, other: Path) -> None:
    """Give a file a second name; where that cannot be, copy it."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def in_parts(
    batches: Iterable[NDArray[np.int64]], sizes: Iterable[int]
) -> Iterator[NDArray[np.int64]]:
    """What comes in batches, in parts of the given sizes; what is left over is a last part."""
    left, batches = np.zeros(0, dtype=np.int64), iter(batches)
    for size in sizes:
        while len(left) < size and (batch := next(batches, None)) is not None:
            left = np.concatenate((left, batch))
        yield left[:size]
        left = left[size:]
    if rest := sum(map(len, batches)) + len(left):
        yield np.full(rest, -1)


def sum_counts(counts: Sequence[Counts]) -> dict[str, Any]:
    """Sum each count over the shards that have it."""
    names = dict.fromkeys(name for each in counts for name in each)
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


def read_rows(path: Path, start: int, stop: int) -> pa.Table:
    """Rows start to stop of a Parquet file; row groups without any of them are not read."""
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    begins = np.append(0, np.cumsum(sizes))
    groups = [i for i, begin in enumerate(begins[:-1]) if begin < stop and start < begins[i + 1]]
    return file.read_row_groups(groups).slice(start - begins[groups[0]], stop - start)


def with_ids(
    table: pa.Table, ids: Sequence[Sequence[int] | None], *, vocabulary: int
) -> tuple[pa.Table, int]:
    """A table of translations with their pieces behind their texts. -> it, number of pieces."""
    column = pa.array(ids, pa.list_(id_type(vocabulary)))
    place = table.schema.get_field_index(Column.HYP) + 1
    return table.add_column(place, Column.HYP_IDS, column), len(column.flatten())
