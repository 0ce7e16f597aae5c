"""The rows of each kind of artifact that holds pairs, against its record and what it was made of.

An artifact's kind is known by its files, and what it was made of by the fingerprints that its
record names. What is not in the same storage cannot be compared, which is told.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.errors import DataError
from kdray.proof.artifacts import COMPARED, Artifacts, Stored
from kdray.proof.rows import Ids, at_most, doubled, misplaced, of_another, of_count
from kdray.schema import Column, Split, View
from kdray.text.corpus import DROPS
from kdray.text.judging import pair_id
from kdray.text.pairing import pair_hashes, source_hashes
from kdray.text.pieces import pieces_of
from kdray.text.sequences import Sequences, read_table
from kdray.text.tokenizer import FILES

TRANSLATIONS, SCORES = "hypotheses.arrow", "scores.arrow"
ROWS_AT_A_TIME = 50_000

Damages = Iterator[str]


@dataclass(frozen=True, slots=True)
class Texts:
    """Pairs of a split of a corpus, in its order, each with the hash of its source."""

    ids: Ids
    hashes: Ids


@dataclass(slots=True)
class Pairs:
    """Proves artifacts of one storage. What several are compared with is read once.

    `damages`: all that is wrong with an artifact; with one that is damaged, none is compared.
    `notes`: what could not be compared, in words.
    """

    artifacts: Artifacts
    damages: Callable[[Stored], list[str]]
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    texts: dict[tuple[str, str], Texts] = field(default_factory=dict)
    at: dict[str, str] = field(default_factory=dict)  # places by fingerprint

    def of_rows(self, stored: Stored) -> Damages:
        """What is wrong with the rows of an artifact; nothing if it has none."""
        folder, record = stored.folder, stored.record
        if record is None:
            return
        kinds: list[tuple[bool, Callable[[Stored, Mapping[str, Any]], Damages]]] = [
            ((folder / f"{Split.TRAIN}.parquet").exists(), self._corpus),
            ((folder / f"{Split.TRAIN}.arrow").exists(), self._encoded),
            (any(folder.rglob(TRANSLATIONS)), self._translations),
            (any(folder.rglob(SCORES)), self._scores),
            ((folder / "pair_hashes.npy").exists(), self._distributions),
        ]
        for is_one, prove in kinds:
            if is_one:
                try:
                    yield from prove(stored, record)
                except (DataError, OSError, ValueError, KeyError, pa.ArrowException) as error:
                    said = " ".join(str(error).split())[:200]
                    yield f"its rows cannot be read ({type(error).__name__}: {said})"

    def _corpus(self, stored: Stored, record: Mapping[str, Any]) -> Damages:
        """Ids are hashes of the text, but in a noisy corpus, which has those of the one before.

        Text that is added stands behind all of the training text before it.
        """
        promised = record["counts"].get("pairs") or {}
        is_noisy, adds = record["stage"] == "noise", record["stage"] == "added"
        before = self._source(record, "corpus") if is_noisy or adds else None
        for path in sorted(stored.folder.glob("*.parquet")):
            if path.name == DROPS:
                continue
            split, what = path.stem, path.name
            ids, wrong = _read_corpus(path, what, hashed=not is_noisy)
            self.rows += len(ids)
            yield from at_most(doubled(ids, what=what))
            yield from of_count(len(ids), promised.get(split), what=f"{what}: number of pairs")
            yield from wrong
            if before is not None:
                of_before = self._texts(before, split).ids
                first = len(of_before) if adds and split == Split.TRAIN else len(ids)
                yield from misplaced(ids[:first], of_before, what=what)
        lacking = promised.keys() - {path.stem for path in stored.folder.glob("*.parquet")}
        yield from (f"{split}.parquet: is missing" for split in sorted(lacking))

    def _encoded(self, stored: Stored, record: Mapping[str, Any]) -> Damages:
        corpus = self._corpus_of(record)
        for split in (Split.TRAIN, Split.DEV):
            what, table = f"{split}.arrow", read_table(stored.folder / f"{split}.arrow")
            ids = table[Column.PAIR_ID].to_numpy()
            hashes, promised = table[Column.SRC_HASH].to_numpy(), record["counts"][split]
            self.rows += len(ids)
            yield from at_most(doubled(ids, what=what))
            yield from of_count(len(ids), promised["pairs"], what=f"{what}: number of pairs")
            for column, name in ((Column.SRC_IDS, "src_tokens"), (Column.REF_IDS, "ref_tokens")):
                tokens = int(Sequences.from_column(table[column]).offsets[-1])
                yield from of_count(tokens, promised[name], what=f"{what}: number of {name}")
            if corpus is not None:
                texts = self._texts(corpus, split)
                yield from misplaced(ids, texts.ids, what=what)
                yield from of_another(ids, hashes, texts.ids, texts.hashes, what=what)
            yield from self._of_other_pieces(pieces_of(table), record, what=what)

    def _of_other_pieces(
        self, found: str | None, record: Mapping[str, Any], *, what: str
    ) -> Damages:
        """Ids of another tokenizer than the record names, by its fingerprint or checksum."""
        if found is None or found == record["inputs"].get("tokenizer"):
            return
        made = self._source(record, "tokenizer")
        if made is None or made.record is None:
            return
        names = [name for name in FILES if name in made.record["files"]]
        wanted = "-".join(made.record["files"][name]["sha256"][:16] for name in names)
        if found != wanted:
            yield f"{what}: its ids are of the tokenizer {found}, and {made.place} is {wanted}"

    def _translations(self, stored: Stored, record: Mapping[str, Any]) -> Damages:
        what, table = TRANSLATIONS, _read_shards(stored.folder, TRANSLATIONS)
        ids, ranks = table[Column.PAIR_ID].to_numpy(), table[Column.HYP_RANK].to_numpy()
        counts, best = record["counts"], ids[ranks == 0]
        self.rows += len(ids)
        yield from at_most(_wrong_ranks(ids, ranks, what=what))
        yield from of_count(len(best), counts.get("pairs"), what=f"{what}: number of pairs")
        total = counts.get("translations")
        yield from of_count(len(ids), total, what=f"{what}: number of translations")
        if Column.HYP_IDS in table.column_names:
            tokens = int(Sequences.from_column(table[Column.HYP_IDS]).offsets[-1])
            yield from of_count(tokens, counts.get("tokens"), what=f"{what}: number of tokens")
            if (found := pieces_of(table)) is not None and "encoded" in record["inputs"]:
                encoded = self._source(record, "encoded")
                theirs = None if encoded is None else pieces_of(_train(encoded))
                if theirs not in (None, found):
                    yield f"{what}: its ids are of the tokenizer {found}, its text's of {theirs}"
        corpus, others = self._corpus_of(record), self._source(record, "hypotheses")
        if others is not None:
            theirs = _best(_read_shards(others.folder, TRANSLATIONS))[Column.PAIR_ID].to_numpy()
            yield from misplaced(best, theirs, what=what, may_lack=counts.get("below", 0))
        if corpus is not None:
            texts = self._texts(corpus, Split.TRAIN)
            if others is None:
                lacking = counts.get("quarantined", 0)
                yield from misplaced(best, texts.ids, what=what, may_lack=lacking)
            hashes = table[Column.SRC_HASH].to_numpy()
            yield from of_another(ids, hashes, texts.ids, texts.hashes, what=what)

    def _scores(self, stored: Stored, record: Mapping[str, Any]) -> Damages:
        """Each translation has one, in their order."""
        what, table, counts = SCORES, _read_shards(stored.folder, SCORES), record["counts"]
        ids, ranks = table[Column.PAIR_ID].to_numpy(), table[Column.HYP_RANK].to_numpy()
        self.rows += len(ids)
        yield from at_most(_wrong_ranks(ids, ranks, what=what))
        best, total = ids[ranks == 0], counts.get("translations")
        yield from of_count(len(best), counts.get("pairs"), what=f"{what}: number of pairs")
        yield from of_count(len(ids), total, what=f"{what}: number of translations")
        unscored = int(np.isnan(table["score"].to_numpy()).sum())
        yield from of_count(unscored, counts.get("unscored"), what=f"{what}: number of unscored")
        if (scored := self._source(record, "hypotheses")) is not None:
            of = _read_shards(scored.folder, TRANSLATIONS)
            theirs = of[Column.PAIR_ID].to_numpy()
            yield from misplaced(best, _best(of)[Column.PAIR_ID].to_numpy(), what=what)
            yield from at_most(_of_other_length(ids, theirs, what=what))
            hashes = (each[Column.SRC_HASH].to_numpy() for each in (table, of))
            yield from of_another(ids, next(hashes), theirs, next(hashes), what=what)

    def _distributions(self, stored: Stored, record: Mapping[str, Any]) -> Damages:
        ids, offsets, hashes = (
            np.load(stored.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("pair_ids", "offsets", "pair_hashes")
        )
        counts, what = record["counts"], "pair_ids.npy"
        self.rows += len(ids)
        yield from at_most(doubled(ids, what=what))
        yield from of_count(len(ids), counts.get("pairs"), what=f"{what}: number of pairs")
        yield from of_count(len(hashes), len(ids), what="pair_hashes.npy: number of pairs")
        yield from of_count(len(offsets), len(ids) + 1, what="offsets.npy: number of places")
        yield from of_count(int(offsets[-1]), counts.get("tokens"), what="offsets.npy: last place")
        encoded = self._source(record, "encoded")
        if encoded is None or len(hashes) != len(ids):
            return
        table = read_table(encoded.folder / f"{Split.TRAIN}.arrow")
        column = Column.REF_IDS
        if record["recipe"].get("on") == View.HYPOTHESIS:
            if (translations := self._source(record, "hypotheses")) is None:
                return
            table, column = _best(_read_shards(translations.folder, TRANSLATIONS)), Column.HYP_IDS
        else:  # what was added in one language has none
            has_one = Sequences.from_column(table[column]).lengths > 0
            table = table if has_one.all() else table.take(pa.array(np.flatnonzero(has_one)))
        wanted, of_src = table[Column.PAIR_ID].to_numpy(), table[Column.SRC_HASH].to_numpy()
        yield from misplaced(ids, wanted, what=what, may_lack=counts.get("quarantined", 0))
        of_pairs = pair_hashes(of_src, Sequences.from_column(table[column]))
        yield from of_another(ids, hashes, wanted, of_pairs, what="pair_hashes.npy")

    def _source(self, record: Mapping[str, Any], name: str) -> Stored | None:
        """What a record names as one of those that it was made of, if it is in the storage."""
        assert name in COMPARED, "a copy of it is kept until then"
        fingerprint = record["inputs"].get(name)
        if fingerprint is None:
            return None
        if not self.at:
            self.at = {place.rpartition("/")[2]: place for place in self.artifacts.places()}
        place = self.at.get(fingerprint)
        stored = None if place is None else self.artifacts.get(place)
        if stored is None or self.damages(stored):
            why = "not there" if stored is None else "damaged"
            note = f"{record['stage']}/{record['fingerprint']}: not compared with its {name} "
            note += f"{fingerprint}, which is {why}"
            self.notes += [note] if note not in self.notes else []
            return None
        return stored

    def _corpus_of(self, record: Mapping[str, Any]) -> Stored | None:
        """The corpus that it was made of, perhaps in several steps; a noisy one is one too."""
        for name in ("noise", "corpus"):
            if name in record["inputs"]:
                return self._source(record, name)
        for name in ("encoded", "hypotheses"):
            before = self._source(record, name) if name in record["inputs"] else None
            if before is not None and before.record is not None:
                return self._corpus_of(before.record)
        return None

    def _texts(self, corpus: Stored, split: str) -> Texts:
        key = corpus.place, split
        if key not in self.texts:
            ids, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            file = pq.ParquetFile(corpus.folder / f"{split}.parquet")
            for batch in file.iter_batches(ROWS_AT_A_TIME):
                ids.append(batch[Column.PAIR_ID].to_numpy())
                hashes.append(source_hashes(batch[Column.SRC].to_pylist()))
            self.texts[key] = Texts(np.concatenate(ids), np.concatenate(hashes))
        return self.texts[key]


def _read_corpus(path: Path, what: str, *, hashed: bool) -> tuple[Ids, list[str]]:
    """The ids of a table, and which are not those of the texts beside them."""
    ids, wrong, seen = [np.zeros(0, np.int64)], list[str](), Counter[tuple[str, str]]()
    for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_A_TIME):
        found = batch[Column.PAIR_ID].to_numpy()
        first = sum(map(len, ids))
        sides = (batch[name].to_pylist() for name in (Column.SRC, Column.REF))
        for row, pair in enumerate(zip(*sides, strict=True)) if hashed else ():
            own = pair_id(*pair, occurrence=seen[pair])
            if found[row] not in (own, pair_id(*pair)):
                wrong.append(
                    f"{what}, row {first + row}: pair {found[row]} has the text of another pair, "
                    f"{own}"
                )
            seen[pair] += 1
        ids.append(found)
    return np.concatenate(ids), list(at_most(wrong))


def _read_shards(folder: Path, name: str) -> pa.Table:
    """One table, or those of shards, one after another in the order of their folders."""
    return pa.concat_tables([read_table(path) for path in sorted(folder.rglob(name))])


def _train(encoded: Stored) -> pa.Table:
    return read_table(encoded.folder / f"{Split.TRAIN}.arrow")


def _best(translations: pa.Table) -> pa.Table:
    """The first translation of each pair."""
    return translations.take(
        pa.array(np.flatnonzero(translations[Column.HYP_RANK].to_numpy() == 0))
    )


def _of_other_length(ids: Ids, translations: Ids, *, what: str) -> Damages:
    """Pairs that have not as many scores as translations."""
    (pairs, scored), (others, all_) = (
        np.unique(each, return_counts=True) for each in (ids, translations)
    )
    _, mine, theirs = np.intersect1d(pairs, others, return_indices=True)
    for place in np.flatnonzero(scored[mine] != all_[theirs]):
        number, of = scored[mine][place], all_[theirs][place]
        yield f"{what}: pair {pairs[mine][place]} has {number} scores for {of} translations"


def _wrong_ranks(ids: Ids, ranks: Ids, *, what: str) -> Damages:
    """Translations of a pair stand together, and are numbered from 0 on, each once."""
    begins = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else ids[:0]
    yield from doubled(ids[begins], what=f"{what}, of the pairs")
    expected = np.arange(len(ids)) - np.repeat(begins, np.diff(np.append(begins, len(ids))))
    for row in np.flatnonzero(ranks != expected):
        found, wanted = int(ranks[row]), int(expected[row])
        kind = "doubled" if found < wanted else "lost before it"
        yield f"{what}, row {row}: of pair {ids[row]}, a translation is {kind} (rank {found})"
