"""Makes a corpus: reads its source, cleans the training text, gives each row its `pair_id`.

Training text is streamed; dev and test, and a digest of each training pair, are held in memory.
Imports neither torch nor ray.
"""

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.artifacts import Key, sha256_file
from kdray.config.text import CorpusConfig, FilesCorpusConfig, GeneratedCorpusConfig, PairSource
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Column, Split
from kdray.text.cleaning import Cleaner, HeldOut, Pair, pair_digest, stripped
from kdray.text.compared import compared
from kdray.text.corpus import DROPS, PAIR_SCHEMA, TEST_PREFIX
from kdray.text.grammar import generate_pairs
from kdray.text.readers import first_line, read_pairs, source_files

logger = logging.getLogger(__name__)

VERSION = 2

Row = tuple[int | str, ...]

_BATCH_ROWS = 50_000
_NAMES = {"src", "tgt", "path"}  # fields of a PairSource that the content does not depend on
_DROP_SCHEMA = pa.schema(
    [("line", pa.int64())] + [(name, pa.string()) for name in ("reason", Column.SRC, Column.REF)]
)


def corpus_key(config: CorpusConfig) -> Key:
    """Identity of a corpus: how it is read and cleaned, and the content of its files.

    Noise is no part of it: the noisy training text is made from the clean corpus.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if isinstance(config, GeneratedCorpusConfig):
        return Key("corpus", VERSION, config.model_dump(mode="json", exclude={"noise"}))
    places: Any = {"folder": True, "train": _NAMES, "dev": _NAMES, "tests": {"__all__": _NAMES}}
    recipe = config.model_dump(mode="json", exclude=places | {"noise": True})
    checksums = {
        f"{split}.{number}": _checksum(path)
        for split, source in _sources(config).items()
        for number, path in enumerate(source_files(source, Path(config.folder)))
    }
    return Key("corpus", VERSION, recipe, checksums)


def _checksum(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); name a readable file"
        ) from None


def build_corpus(config: CorpusConfig, folder: Path) -> dict[str, Any]:
    """Write the tables of a corpus into `folder`. -> counts for its record.

    `pairs` and `mean_words`: of each split. `train_read`: training pairs that cleaning has judged.
    `drops`: how many of these it dropped, by reason; `by_script`: the same for the scripts of both
    sides; `notes`: what that costs, in words. `train_unread`: pairs after the last one that
    `max_train_pairs` admits. `overlap`: of each dev and test set with the judged pairs, and
    `overlap_kept`: with those that were kept (see HeldOut.overlap). `true_entropy_per_sentence` and
    `true_entropy_per_word`: the mean of H(ref | src) in nats, only for a generated corpus.

    Raises:
        DataError: a source cannot be read, a side of a dev or test pair is empty, or a split has
            no pairs.
    """
    *held_out_streams, train = _streams(config)
    written = {stream.split: _write_held_out(stream, folder) for stream in held_out_streams}
    held_out = HeldOut({split: pairs for split, (pairs, _) in written.items()})
    tally, train_counts = _write_train(config, train, held_out, folder)
    tallies = {**{split: tally for split, (_, tally) in written.items()}, train.split: tally}
    for split, tally in tallies.items():
        prove_unique(np.asarray(tally.ids), split)
    counts: dict[str, Any] = {
        "pairs": {split: len(tally.ids) for split, tally in tallies.items()},
        "mean_words": {split: tally.mean_words() for split, tally in tallies.items()},
        **train_counts,
        "overlap": held_out.overlap(kept=False),
        "overlap_kept": held_out.overlap(kept=True),
    }
    if isinstance(config, GeneratedCorpusConfig):
        counts |= {
            "true_entropy_per_sentence": {s: t.entropy / len(t.ids) for s, t in tallies.items()},
            "true_entropy_per_word": {s: t.entropy / t.ref_words for s, t in tallies.items()},
        }
    return counts


def pair_id(src: str, ref: str, *, occurrence: int = 0) -> int:
    """The key of a pair, 0 <= id < 2**63: a hash of its text and of `occurrence`.

    `occurrence` is the number of equal pairs before it in the split.
    """
    return int.from_bytes(pair_digest(src, ref, size=8, occurrence=occurrence)) >> 1


def prove_unique(ids: npt.NDArray[np.int64], split: str) -> None:
    """Raise DataError if two rows of a split have the same id."""
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        rows = np.flatnonzero(ids == twice[0]) + 1
        raise DataError(
            f"{split}: the different pairs in rows {', '.join(map(str, rows))} of its table have "
            f"the same pair_id {twice[0]}; remove one of them from the source"
        )


@dataclass(frozen=True, slots=True)
class _Stream:
    """The pairs of a split before cleaning."""

    split: str
    place: str  # for messages
    rows: Iterable[tuple[str, str, float]]  # source, reference, entropy in nats
    first_line: int = 1

    def pairs(self) -> Iterator[tuple[int, str, str, float]]:
        """Line number, source, reference, entropy."""
        for line, (src, ref, entropy) in enumerate(self.rows, start=self.first_line):
            yield line, *stripped((src, ref)), entropy


def _streams(config: CorpusConfig) -> list[_Stream]:
    """The splits in the order in which they are written: test sets, dev, train."""
    if isinstance(config, FilesCorpusConfig):
        folder = Path(config.folder)
        return [_files_stream(split, source, folder) for split, source in _sources(config).items()]
    return [
        _Stream(split, f"generated {split}", ((p.src, p.ref, p.entropy) for p in pairs))
        for split, pairs in generate_pairs(config).items()
    ]


def _sources(config: FilesCorpusConfig) -> dict[str, PairSource]:
    tests = {f"{TEST_PREFIX}{name}": source for name, source in config.tests.items()}
    return {**tests, Split.DEV.value: config.dev, Split.TRAIN.value: config.train}


def _files_stream(split: str, source: PairSource, folder: Path) -> _Stream:
    place = " and ".join(map(str, source_files(source, folder)))
    rows = ((src, ref, 0.0) for src, ref in read_pairs(source, folder))
    return _Stream(split, f"{split} ({place})", rows, first_line(source))


class _Tally:
    """Gives each row of a split its id, and sums up words and entropy of the split."""

    def __init__(self, *, may_repeat: bool) -> None:
        self.ids = array("q")
        self.src_words = self.ref_words = 0
        self.entropy = 0.0
        self._may_repeat = may_repeat
        self._seen: Counter[bytes] = Counter()

    def row(self, src: str, ref: str, entropy: float) -> Row:
        """The pair as a row of its table."""
        self.src_words += len(src.split())
        self.ref_words += len(ref.split())
        self.entropy += entropy
        self.ids.append(pair_id(src, ref, occurrence=self._occurrence(src, ref)))
        return self.ids[-1], src, ref

    def mean_words(self) -> dict[str, float]:
        """Words of a sentence, as white space separates them, on both sides."""
        return {
            Column.SRC.value: self.src_words / len(self.ids),
            Column.REF.value: self.ref_words / len(self.ids),
        }

    def _occurrence(self, src: str, ref: str) -> int:
        if not self._may_repeat:
            return 0
        digest = pair_digest(src, ref, size=16)
        self._seen[digest] += 1
        return self._seen[digest] - 1


@contextmanager
def _table(path: Path, schema: pa.Schema) -> Iterator[Callable[[Row], None]]:
    """Give a function that adds a row to a Parquet file, which is written in batches."""
    rows: list[Row] = []

    def flush() -> None:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        writer.write_batch(pa.record_batch(arrays, schema=schema))
        rows.clear()

    def add(row: Row) -> None:
        rows.append(row)
        if len(rows) == _BATCH_ROWS:
            flush()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield add
        if rows:
            flush()


def _write_held_out(stream: _Stream, folder: Path) -> tuple[list[Pair], _Tally]:
    pairs: list[Pair] = []
    tally = _Tally(may_repeat=True)
    with _table(folder / f"{stream.split}.parquet", PAIR_SCHEMA) as add:
        for line, src, ref, entropy in stream.pairs():
            if not compared(src) or not compared(ref):
                side, text = ("target", ref) if compared(src) else ("source", src)
                unseen = f" but for {text!a}, which nobody sees" if text else ""
                raise DataError(
                    f"{stream.place}, line {line}: the {side} side is empty{unseen}; fill it, or "
                    "remove the line from both sides"
                )
            pairs.append((src, ref))
            add(tally.row(src, ref, entropy))
        if not pairs:
            raise DataError(f"{stream.place}: holds no pairs; name a source that has some")
    return pairs, tally


def _write_train(
    config: CorpusConfig, stream: _Stream, held_out: HeldOut, folder: Path
) -> tuple[_Tally, dict[str, Any]]:
    limit = config.max_train_pairs if isinstance(config, FilesCorpusConfig) else None
    cleaner = Cleaner(config.cleaning, held_out=held_out)
    tally = _Tally(may_repeat=not config.cleaning.drop_duplicates)
    read = unread = 0
    with (
        _table(folder / f"{stream.split}.parquet", PAIR_SCHEMA) as keep,
        _table(folder / DROPS, _DROP_SCHEMA) as drop,
    ):
        for line, src, ref, entropy in stream.pairs():
            if len(tally.ids) == limit:
                unread += 1  # read on: only the end shows whether both sides have as many lines
                continue
            read += 1
            reason = cleaner.judge(src, ref)
            held_out.observe(src, ref, kept=reason is None)
            if reason is None:
                keep(tally.row(src, ref, entropy))
            else:
                drop((line, reason.value, src, ref))
    dropped = {reason.value: count for reason, count in cleaner.drops.items()}
    summary = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count) or "none"
    if not tally.ids:
        raise DataError(
            f"{stream.place}: cleaning kept 0 of {read} pairs (dropped: {summary}); "
            + ("loosen corpus.cleaning" if read else "name a source that has some")
        )
    logger.info("train: %d of %d pairs kept, dropped: %s", len(tally.ids), read, summary)
    return tally, {
        "train_read": read,
        "train_unread": unread,
        "drops": dropped,
        "by_script": {scripts: dict(counts) for scripts, counts in cleaner.by_script.items()},
        NOTES: cleaner.costs(),
    }
