"""Adds text in one language to a clean corpus, as further training pairs.

Sentences of the source language become pairs with an empty reference: they have the teacher's
translations alone, and what learns from references leaves them out. Sentences of the target
language are first cleaned as a text of their own, which a model of the other direction translates;
then they are references of what it says. Every sentence that is not kept is counted with a reason.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdray.artifacts import Key, sha256_file
from kdray.config.monolingual import PARALLEL, DecodedTextConfig, SentencesConfig
from kdray.config.text import CleaningConfig, FilesCorpusConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Column, Split
from kdray.text.cleaning import Drop, fault, pair_digest
from kdray.text.compared import compared
from kdray.text.corpus import PAIR_SCHEMA, TEST_PREFIX, Corpus
from kdray.text.corpus_building import prove_unique
from kdray.text.domain import most_similar
from kdray.text.duplicates import Seen
from kdray.text.judging import pair_id
from kdray.text.lines import lines_of
from kdray.text.places import files_of
from kdray.text.preparation import RowGroups
from kdray.text.settling import SOURCE

VERSION = 1
UNCHOSEN, UNTRANSLATED, UNREAD = "less similar", "no translation", "unread"
_AT_A_TIME = 20_000
Row = tuple[str, str]


def sentences_key(config: FilesCorpusConfig, name: str, corpus: Key) -> Key:
    """Identity of cleaned sentences: their files, how they are cleaned and chosen, the corpus.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    return Key(
        "sentences",
        VERSION,
        _recipe(config, name),
        {**_checksums(config, name), "corpus": corpus.fingerprint},
    )


def added_key(
    config: FilesCorpusConfig, corpus: Key, translations: Mapping[str, tuple[Key, Key]]
) -> Key:
    """Identity of a corpus with all text that is added; of some, sentences and translations.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    names = [name for name in config.monolingual if name not in translations]
    recipe = {name: _recipe(config, name) for name in names}
    inputs = {f"{name}.{n}": c for name in names for n, c in _checksums(config, name).items()}
    inputs |= {f"{name}.sentences": keys[0].fingerprint for name, keys in translations.items()}
    inputs |= {f"{name}.translations": keys[1].fingerprint for name, keys in translations.items()}
    order = list(config.monolingual)
    return Key(
        "added",
        VERSION,
        {"order": order, "texts": recipe},
        {**inputs, "corpus": corpus.fingerprint},
    )


def build_sentences(
    config: FilesCorpusConfig, name: str, corpus: Path, folder: Path
) -> dict[str, Any]:
    """Write the clean sentences of the target language as sources of a corpus, to be translated.

    Raises:
        DataError: a file cannot be read, or no sentence is left.
    """
    clean, seen = Corpus(corpus), Seen()
    for texts in _column(clean, Split.TRAIN, Column.REF):
        seen.ranks(_digests(texts))
    held_out = _held_out(clean, Column.REF)
    cleaned = _Cleaned(config, name, held_out, seen)
    with RowGroups(folder / f"{Split.TRAIN}.parquet") as table:
        for texts in _batches(cleaned.kept(folder)):
            ids = [pair_id(text, "") for text in texts]
            table.add(pa.table([ids, texts, [""] * len(texts)], schema=PAIR_SCHEMA))
    return {"pairs": {Split.TRAIN.value: cleaned.counts["kept"]}, NOTES: [cleaned.told()]}


def build_added(
    config: FilesCorpusConfig,
    corpus: Path,
    translated: Mapping[str, tuple[Path, Mapping[int, str]]],
    folder: Path,
) -> dict[str, Any]:
    """Write a corpus whose training text is that of a clean one, and what is added to it.

    Args:
        config: which text is added.
        corpus: the clean corpus.
        translated: sentences of the target language, as `build_sentences` wrote them, and their
            translations by pair_id.
        folder: is filled.

    Returns:
        `pairs`; `sources`: of the training text, by their sources; `notes`: what was dropped.

    Raises:
        DataError: a file cannot be read, or no sentence of a text is left.
    """
    clean, seen, ids = Corpus(corpus), Seen(), list[np.ndarray[Any, Any]]()
    sources, notes = Counter[str](), list[str]()
    with RowGroups(folder / f"{Split.TRAIN}.parquet") as table:
        for batch in clean.batches(Split.TRAIN, rows=_AT_A_TIME):
            rows = _with_source(pa.Table.from_batches([batch]))
            table.add(rows)
            ids.append(rows[Column.PAIR_ID].to_numpy())
            sources.update(rows[Column.SOURCE].to_pylist())
            seen.ranks(_digests(rows[Column.SRC].to_pylist()))
        held_out = _held_out(clean, Column.SRC)
        for name, text in config.monolingual.items():
            if isinstance(text, DecodedTextConfig):
                cleaned = _Cleaned(config, name, held_out, seen)
                pairs: Iterator[Row] = ((src, "") for src in cleaned.kept(folder))
            else:
                pairs = _translated(*translated[name])
            lost = 0
            while some := list(islice(pairs, _AT_A_TIME)):
                good = [pair for pair in some if compared(pair[0])]
                lost += len(some) - len(good)
                rows = _rows(good, name)
                table.add(rows)
                ids.append(rows[Column.PAIR_ID].to_numpy())
                sources[name] += len(good)
            if isinstance(text, DecodedTextConfig):
                notes.append(cleaned.told())
            else:
                kept = f"{sources[name]} sentences with a translation"
                notes.append(f"{name}: {kept}, left out: {UNTRANSLATED} {lost}")
    prove_unique(np.concatenate(ids), Split.TRAIN)
    _copy_held_out(clean, folder)
    return {"pairs": {Split.TRAIN.value: sources.total()}, "sources": dict(sources), NOTES: notes}


@dataclass(slots=True)
class _Cleaned:
    """The sentences of a text that are kept, and what became of all of them.

    held_out: sentences of dev and tests. seen: those that came before; new ones are added.
    """

    config: FilesCorpusConfig
    name: str
    held_out: frozenset[str]
    seen: Seen
    counts: Counter[str] = field(default_factory=Counter)

    def kept(self, folder: Path) -> Iterator[str]:
        """Clean sentences in their order, those that are chosen if some are to be.

        Raises:
            DataError: a file cannot be read, or none is left.
        """
        text = self.config.monolingual[self.name]
        with tempfile.TemporaryDirectory(dir=folder, prefix=".sentences-") as aside:
            spool = Path(aside) / "clean.txt"
            with spool.open("w", encoding="utf-8") as file:
                file.writelines(f"{sentence}\n" for sentence in self._clean(text))
            if text.similar_to is None:
                yield from self._counted(lines_of(spool))
            else:
                in_domain = _lines(self.config, text.similar_to.path)
                keep = text.similar_to.keep
                chosen = most_similar(in_domain, lambda: lines_of(spool), keep=keep)
                self.counts[UNCHOSEN] += int((~chosen).sum())
                yield from self._counted(compress(lines_of(spool), chosen.tolist()))
        if not self.counts["kept"]:
            raise DataError(f"{self._place()}: no sentence is left ({self.told()})")

    def told(self) -> str:
        """What became of the sentences, in words."""
        others = {reason: n for reason, n in self.counts.items() if n and reason != "kept"}
        reasons = ", ".join(f"{reason} {n}" for reason, n in others.items()) or "none"
        return f"{self.name}: {self.counts['kept']} sentences kept, left out: {reasons}"

    def _place(self) -> str:
        return f"corpus.monolingual.{self.name}"

    def _counted(self, sentences: Iterable[str]) -> Iterator[str]:
        for sentence in sentences:
            self.counts["kept"] += 1
            yield sentence

    def _clean(self, text: SentencesConfig) -> Iterator[str]:
        every = _lines(self.config, text.path)
        for some in _batches(islice(every, text.max_sentences)):
            sentences = [sentence.strip() for sentence in some]
            faults = [self._fault(sentence) for sentence in sentences]
            self.counts.update(reason.value for reason in faults if reason is not None)
            good = [s for s, reason in zip(sentences, faults, strict=True) if reason is None]
            ranks = self.seen.ranks(_digests(good))
            self.counts[Drop.DUPLICATE.value] += int(ranks.sum())
            yield from compress(good, (ranks == 0).tolist())
        self.counts[UNREAD] += sum(1 for _ in every)

    def _fault(self, sentence: str) -> Drop | None:
        seen, rules = compared(sentence), _one_sided(self.config.cleaning)
        reason = fault(rules, None, (sentence, sentence), seen, seen)
        if reason is None and rules.drop_overlap and seen in self.held_out:
            return Drop.OVERLAP
        return reason


def _one_sided(cleaning: CleaningConfig) -> CleaningConfig:
    """The rules for a sentence beside which no other stands."""
    return cleaning.model_copy(update={"drop_identical": False})


def _lines(config: FilesCorpusConfig, name: str) -> Iterator[str]:
    return chain.from_iterable(map(lines_of, files_of(config.folder, name)))


def _recipe(config: FilesCorpusConfig, name: str) -> dict[str, Any]:
    text = config.monolingual[name].model_dump(
        mode="json", exclude={"path": True, "model": True, "beam": True, "similar_to": {"path"}}
    )
    return {**text, "cleaning": config.cleaning.model_dump(mode="json")}


def _checksums(config: FilesCorpusConfig, name: str) -> dict[str, str]:
    text = config.monolingual[name]
    names = [text.path] if text.similar_to is None else [text.path, text.similar_to.path]
    return {
        f"{place}.{number}": sha256_file(path)
        for place, each in zip(("text", "domain"), names, strict=False)
        for number, path in enumerate(files_of(config.folder, each))
    }


def _held_out(corpus: Corpus, side: Column) -> frozenset[str]:
    """One side of dev and tests, as it is compared."""
    splits = [Split.DEV.value, *(f"{TEST_PREFIX}{name}" for name in corpus.tests)]
    texts = chain.from_iterable(t for split in splits for t in _column(corpus, split, side))
    return frozenset(map(compared, texts))


def _column(corpus: Corpus, split: str, side: Column) -> Iterator[list[str]]:
    for batch in corpus.batches(split, rows=_AT_A_TIME):
        yield batch.column(side).to_pylist()


def _digests(texts: Iterable[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    every = b"".join(pair_digest(compared(text), "", size=16) for text in texts)
    return np.frombuffer(every, dtype=np.uint64).reshape(-1, 2)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while some := list(islice(texts, _AT_A_TIME)):
        yield some


def _with_source(table: pa.Table) -> pa.Table:
    if Column.SOURCE in table.column_names:
        return table
    return table.append_column(SOURCE, pa.array([PARALLEL] * table.num_rows, pa.string()))


def _rows(pairs: list[Row], name: str) -> pa.Table:
    ids = [pair_id(src, ref) for src, ref in pairs]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    columns = [ids, *sides, [name] * len(pairs)]
    return pa.table(columns, schema=PAIR_SCHEMA.append(SOURCE))


def _translated(sentences: Path, translations: Mapping[int, str]) -> Iterator[Row]:
    """What a model says of each sentence, and the sentence; empty where it says nothing."""
    for batch in Corpus(sentences).batches(Split.TRAIN, rows=_AT_A_TIME):
        ids, texts = (batch.column(name).to_pylist() for name in (Column.PAIR_ID, Column.SRC))
        for number, text in zip(ids, texts, strict=True):
            yield translations.get(number, "").strip(), text


def _copy_held_out(corpus: Corpus, folder: Path) -> None:
    for split in (Split.DEV.value, *(f"{TEST_PREFIX}{name}" for name in corpus.tests)):
        shutil.copyfile(corpus.path / f"{split}.parquet", folder / f"{split}.parquet")
