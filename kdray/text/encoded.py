"""The corpus as ids: one memory-mapped Arrow file for each split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key, Source
from kdray.jobs import Build, Counts
from kdray.schema import Column, Split
from kdray.text.corpus import Corpus
from kdray.text.pairing import source_hashes
from kdray.text.pieces import check_pieces, of_pieces, pieces_of
from kdray.text.sequences import Sequences, id_type, read_table, write_table, write_tables
from kdray.text.tokenizer import Tokenizer

VERSION = 2
ROWS_AT_A_TIME = 50_000
_SHARD = "ids.arrow"


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """Ids of one split, in the corpus's order."""

    pair_ids: NDArray[np.int64]
    src_hashes: NDArray[np.int64]
    src: Sequences
    ref: Sequences  # without `</s>`, and so empty, where a pair has no reference
    sources: NDArray[np.int64] | None = None  # hashes of their names, if there are several
    pieces: str | None = None  # the checksum of the tokenizer whose ids they are, if it is known

    @classmethod
    def load(cls, folder: Path, split: str) -> "EncodedSplit":
        """Map a split of an encoded corpus."""
        table = read_table(folder / f"{split}.arrow")
        names = table.column_names
        return cls(
            pair_ids=table[Column.PAIR_ID].to_numpy(),
            src_hashes=table[Column.SRC_HASH].to_numpy(),
            src=Sequences.from_column(table[Column.SRC_IDS]),
            ref=Sequences.from_column(table[Column.REF_IDS]),
            sources=table[Column.SOURCE].to_numpy() if Column.SOURCE in names else None,
            pieces=pieces_of(table),
        )

    def with_references(self) -> "EncodedSplit":
        """The pairs that have a reference; itself, if all have one."""
        rows = np.flatnonzero(self.ref.lengths)
        if len(rows) == len(self):
            return self
        sources = None if self.sources is None else self.sources[rows]
        src, ref, hashes = self.src.take(rows), self.ref.take(rows), self.src_hashes[rows]
        return EncodedSplit(self.pair_ids[rows], hashes, src, ref, sources, self.pieces)

    def __len__(self) -> int:
        return len(self.pair_ids)


def encoded_key(corpus: Key, tokenizer: str) -> Key:
    """Identity of an encoded corpus; `tokenizer` is a fingerprint or a checksum."""
    inputs = {"corpus": corpus.fingerprint, "tokenizer": tokenizer}
    return Key(stage="encoded", version=VERSION, recipe={}, inputs=inputs)


def build_encoded(corpus: Path, tokenizer: Tokenizer, folder: Path) -> Mapping[str, Any]:
    """Encode the train and dev splits. -> pairs and tokens of each. Memory does not grow."""
    return {
        split: _written(_encoded_batches(corpus, split, tokenizer), folder, split)
        for split in (Split.TRAIN, Split.DEV)
    }


@dataclass(frozen=True, slots=True)
class Encoding:
    """The training text of a large corpus, row group by row group; see `kdray.jobs.Phase`."""

    corpus: Key
    tokenizer: Source
    name: ClassVar[str] = "encoding"

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """-> the number of row groups."""
        return int(pq.read_metadata(training_file(fetch(self.corpus))).num_row_groups)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """Encodes some row groups."""
        tokenizer, path = Tokenizer.load(fetch(self.tokenizer)), training_file(fetch(self.corpus))

        def build(start: int, stop: int, folder: Path) -> Counts:
            rows = pq.ParquetFile(path).read_row_groups(range(start, stop))
            write_table(folder / _SHARD, encode_table(rows, tokenizer))
            return {"pairs": rows.num_rows}

        return build


def join_encoded(
    corpus: Path, tokenizer: Tokenizer, shards: Path, folder: Path
) -> Mapping[str, Any]:
    """What `build_encoded` makes, with the training text that `Encoding` has encoded.

    Raises:
        DataError: some of it was encoded in other pieces, by a command before this one.
    """
    paths = sorted(shards.glob(f"[0-9]*/{_SHARD}"))
    for path in paths:
        found = pieces_of(read_table(path))
        check_pieces(found, tokenizer.checksum, what=shards, of="the tokenizer")
    dev = _encoded_batches(corpus, Split.DEV, tokenizer)
    return {
        Split.TRAIN: _written((read_table(path) for path in paths), folder, Split.TRAIN),
        Split.DEV: _written(dev, folder, Split.DEV),
    }


def training_file(corpus: Path) -> Path:
    """The training text of a corpus."""
    return corpus / f"{Split.TRAIN}.parquet"


def _encoded_batches(corpus: Path, split: str, tokenizer: Tokenizer) -> Iterator[pa.Table]:
    for batch in Corpus(corpus).batches(split, rows=ROWS_AT_A_TIME):
        yield encode_table(pa.Table.from_batches([batch]), tokenizer)


def _written(tables: Iterator[pa.Table], folder: Path, split: str) -> dict[str, int]:
    """Write the tables as one. -> pairs and tokens."""
    write_tables(folder / f"{split}.arrow", tables)
    encoded = EncodedSplit.load(folder, split)
    return {
        "pairs": len(encoded),
        "src_tokens": int(encoded.src.offsets[-1]),
        "ref_tokens": int(encoded.ref.offsets[-1]),
    }


def encode_table(table: pa.Table, tokenizer: Tokenizer) -> pa.Table:
    """pair_id, hash and ids of the source, and ids of the reference, of a corpus table.

    With a hash of the name of each pair's source, where the table has several.
    """
    parts = []
    for start in range(0, max(table.num_rows, 1), ROWS_AT_A_TIME):
        rows = table.slice(start, ROWS_AT_A_TIME)
        texts = rows[Column.SRC].to_pylist()
        src = tokenizer.encode_src(texts)
        refs = rows[Column.REF].to_pylist()
        ref = [
            ids if text else [] for ids, text in zip(tokenizer.encode_tgt(refs), refs, strict=True)
        ]
        columns = {
            Column.PAIR_ID: rows[Column.PAIR_ID],
            Column.SRC_HASH: pa.array(source_hashes(texts)),
            Column.SRC_IDS: pa.array(src, pa.list_(id_type(tokenizer.src_vocab))),
            Column.REF_IDS: pa.array(ref, pa.list_(id_type(tokenizer.tgt_vocab))),
        }
        if Column.SOURCE in rows.column_names:
            columns[Column.SOURCE] = pa.array(source_hashes(rows[Column.SOURCE].to_pylist()))
        parts.append(pa.table(columns))
    return of_pieces(pa.concat_tables(parts), tokenizer.checksum)
