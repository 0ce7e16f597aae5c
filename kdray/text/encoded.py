"""The corpus as ids: one memory-mapped Arrow file for each split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.artifacts import Key
from kdray.schema import Column, Split
from kdray.text.corpus import Corpus
from kdray.text.pairing import source_hashes
from kdray.text.sequences import Sequences, id_type, read_table, write_table
from kdray.text.tokenizer import Tokenizer

VERSION = 2
ROWS_AT_A_TIME = 50_000


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """Ids of one split, in the corpus's order."""

    pair_ids: NDArray[np.int64]
    src_hashes: NDArray[np.int64]
    src: Sequences
    ref: Sequences

    @classmethod
    def load(cls, folder: Path, split: str) -> "EncodedSplit":
        """Map a split of an encoded corpus."""
        table = read_table(folder / f"{split}.arrow")
        return cls(
            pair_ids=table[Column.PAIR_ID].to_numpy(),
            src_hashes=table[Column.SRC_HASH].to_numpy(),
            src=Sequences.from_column(table[Column.SRC_IDS]),
            ref=Sequences.from_column(table[Column.REF_IDS]),
        )

    def __len__(self) -> int:
        return len(self.pair_ids)


def encoded_key(corpus: Key, tokenizer: str) -> Key:
    """Identity of an encoded corpus; `tokenizer` is a fingerprint or a checksum."""
    inputs = {"corpus": corpus.fingerprint, "tokenizer": tokenizer}
    return Key(stage="encoded", version=VERSION, recipe={}, inputs=inputs)


def build_encoded(corpus: Path, tokenizer: Tokenizer, folder: Path) -> Mapping[str, Any]:
    """Encode the train and dev splits. -> pairs and tokens of each."""
    counts: dict[str, Any] = {}
    for split in (Split.TRAIN, Split.DEV):
        table = encode_table(Corpus(corpus).table(split), tokenizer)
        write_table(folder / f"{split}.arrow", table)
        encoded = EncodedSplit.load(folder, split)
        counts[split] = {
            "pairs": len(encoded),
            "src_tokens": int(encoded.src.offsets[-1]),
            "ref_tokens": int(encoded.ref.offsets[-1]),
        }
    return counts


def encode_table(table: pa.Table, tokenizer: Tokenizer) -> pa.Table:
    """pair_id, hash and ids of the source, and ids of the reference, of a corpus table."""
    parts = []
    for start in range(0, max(table.num_rows, 1), ROWS_AT_A_TIME):
        rows = table.slice(start, ROWS_AT_A_TIME)
        texts = rows[Column.SRC].to_pylist()
        src = tokenizer.encode_src(texts)
        ref = tokenizer.encode_tgt(rows[Column.REF].to_pylist())
        columns = {
            Column.PAIR_ID: rows[Column.PAIR_ID],
            Column.SRC_HASH: pa.array(source_hashes(texts)),
            Column.SRC_IDS: pa.array(src, pa.list_(id_type(tokenizer.src_vocab))),
            Column.REF_IDS: pa.array(ref, pa.list_(id_type(tokenizer.tgt_vocab))),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)
