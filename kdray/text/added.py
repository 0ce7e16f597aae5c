"""Adds text in one language to a clean corpus, as further training pairs.

Sentences of the source language become pairs with an empty reference: they have the teacher's
translations alone, and what learns from references leaves them out. Sentences of the target
language are first cleaned as a text of their own, which a model of the other direction translates;
then they are references of what it says. Every sentence that is not kept is counted with a reason.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.artifacts import Key
from kdray.config.monolingual import PARALLEL, DecodedTextConfig
from kdray.config.text import FilesCorpusConfig
from kdray.jobs import NOTES
from kdray.schema import Column, Split
from kdray.storage.hashed import Hashed
from kdray.text.cleaning import Drop
from kdray.text.compared import compared
from kdray.text.corpus import PAIR_SCHEMA, TEST_PREFIX, Corpus
from kdray.text.corpus_building import prove_unique
from kdray.text.duplicates import Seen
from kdray.text.judging import pair_id
from kdray.text.places import files_of
from kdray.text.preparation import RowGroups
from kdray.text.sentences import AT_A_TIME, Cleaned, batches, digests_of, digests_of_pairs
from kdray.text.settling import SOURCE

VERSION = 1
OF_TRANSLATED = 2  # of a corpus with translations: once they were learned without their end, too
UNTRANSLATED, UNFINISHED = "no translation", "unfinished translation"
TEXTS = "texts"
"""In counts: of each text how many lines were kept, left unread, or dropped for which reason."""
Row = tuple[str, str]
Translate = Callable[[NDArray[np.int64]], list[str | None]]
"""The translation of each sentence, by its pair_id; empty where there is none, None where it did
not end before the length limit."""


def text_files(config: FilesCorpusConfig, name: str) -> dict[str, Path]:
    """The files of a text as they are now, by what they are in it.

    Raises:
        DataError: one is missing.
    """
    text = config.monolingual[name]
    names = [text.path] if text.similar_to is None else [text.path, text.similar_to.path]
    return {
        f"{place}.{number}": path
        for place, each in zip(("text", "domain"), names, strict=False)
        for number, path in enumerate(files_of(config.folder, each))
    }


def untranslated(config: FilesCorpusConfig, translations: Mapping[str, object]) -> list[str]:
    """The texts whose lines are added as they are."""
    return [name for name in config.monolingual if name not in translations]


def hashed_texts(config: FilesCorpusConfig, names: Iterable[str]) -> Hashed:
    """The files of some texts, hashed.

    Raises:
        DataError: one is missing or cannot be read.
    """
    return Hashed.of(path for name in names for path in text_files(config, name).values())


def sentences_key(config: FilesCorpusConfig, name: str, corpus: Key, files: Hashed) -> Key:
    """Identity of cleaned sentences: their files, how they are cleaned and chosen, the corpus.

    files: those of the text, hashed.
    """
    return Key(
        "sentences",
        VERSION,
        _recipe(config, name),
        {**_checksums(config, name, files), "corpus": corpus.fingerprint},
    )


def added_key(
    config: FilesCorpusConfig,
    corpus: Key,
    translations: Mapping[str, tuple[Key, Key]],
    files: Hashed,
) -> Key:
    """Identity of a corpus with all text that is added; of some, sentences and translations.

    files: those of the other texts, hashed.
    """
    names = untranslated(config, translations)
    recipe = {name: _recipe(config, name) for name in names}
    checksums = {name: _checksums(config, name, files) for name in names}
    inputs = {f"{name}.{n}": c for name, of in checksums.items() for n, c in of.items()}
    inputs |= {f"{name}.sentences": keys[0].fingerprint for name, keys in translations.items()}
    inputs |= {f"{name}.translations": keys[1].fingerprint for name, keys in translations.items()}
    order = list(config.monolingual)
    return Key(
        "added",
        OF_TRANSLATED if translations else VERSION,
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
        seen.ranks(digests_of(texts))
    held_out = _held_out(clean, Column.REF)
    cleaned = Cleaned(config, name, held_out, seen)
    with RowGroups(folder / f"{Split.TRAIN}.parquet") as table:
        for texts in batches(cleaned.kept(folder)):
            ids = [pair_id(text, "") for text in texts]
            table.add(pa.table([ids, texts, [""] * len(texts)], schema=PAIR_SCHEMA))
    pairs = {Split.TRAIN.value: cleaned.counts["kept"]}
    return {"pairs": pairs, TEXTS: {name: dict(cleaned.counts)}, NOTES: [cleaned.told()]}


def build_added(
    config: FilesCorpusConfig,
    corpus: Path,
    translated: Mapping[str, tuple[Path, Translate]],
    folder: Path,
) -> dict[str, Any]:
    """Write a corpus whose training text is that of a clean one, and what is added to it.

    Args:
        config: which text is added.
        corpus: the clean corpus.
        translated: sentences of the target language, as `build_sentences` wrote them, and their
            translations, asked for by pair_id.
        folder: is filled.

    Returns:
        `pairs`; `sources`: of the training text, by their sources; `texts`: what became of the
        lines of each decoded text; `notes`: the same in words.

    Raises:
        DataError: a file cannot be read, or no sentence of a text is left.
    """
    clean, seen, ids = Corpus(corpus), Seen(), list[np.ndarray[Any, Any]]()
    sources, notes, seen_pairs = Counter[str](), list[str](), Seen()
    texts: dict[str, dict[str, int]] = {}
    with RowGroups(folder / f"{Split.TRAIN}.parquet") as table:
        for batch in clean.batches(Split.TRAIN, rows=AT_A_TIME):
            rows = _with_source(pa.Table.from_batches([batch]))
            table.add(rows)
            ids.append(rows[Column.PAIR_ID].to_numpy())
            sources.update(rows[Column.SOURCE].to_pylist())
            seen.ranks(digests_of(rows[Column.SRC].to_pylist()))
        held_out = _held_out(clean, Column.SRC)
        for name, text in config.monolingual.items():
            lost = Counter({UNTRANSLATED: 0})
            sources[name] = 0
            if isinstance(text, DecodedTextConfig):
                cleaned = Cleaned(config, name, held_out, seen)
                pairs: Iterator[Row] = ((src, "") for src in cleaned.kept(folder))
            else:
                pairs = _translated(*translated[name], lost)
            for good in _learned(pairs, seen_pairs, lost):
                rows = _rows(good, name)
                table.add(rows)
                ids.append(rows[Column.PAIR_ID].to_numpy())
                sources[name] += len(good)
            if isinstance(text, DecodedTextConfig):
                texts[name] = dict(cleaned.counts)
                notes.append(cleaned.told())
            else:
                notes.append(f"{name}: {_told(sources[name], lost)}")
    prove_unique(np.concatenate(ids), Split.TRAIN)
    _copy_held_out(clean, folder)
    pairs_of = {Split.TRAIN.value: sources.total()}
    return {"pairs": pairs_of, "sources": dict(sources), TEXTS: texts, NOTES: notes}


def _learned(pairs: Iterator[Row], seen: Seen, lost: Counter[str]) -> Iterator[list[Row]]:
    """Batches of pairs that say something and were not there before; the others are counted."""
    while some := list(islice(pairs, AT_A_TIME)):
        good = [pair for pair in some if compared(pair[0])]
        lost[UNTRANSLATED] += len(some) - len(good)
        repeats = seen.ranks(digests_of_pairs(good)) > 0
        lost[Drop.DUPLICATE.value] += int(repeats.sum())
        yield list(compress(good, (~repeats).tolist()))


def _told(kept: int, lost: Counter[str]) -> str:
    """What became of the sentences of a back-translated text, in words."""
    reasons = [f"{why} {n}" for why, n in lost.items() if n or why == UNTRANSLATED]
    return f"{kept} sentences with a translation, left out: {', '.join(reasons)}"


def _recipe(config: FilesCorpusConfig, name: str) -> dict[str, Any]:
    text = config.monolingual[name].model_dump(
        mode="json", exclude={"path": True, "model": True, "beam": True, "similar_to": {"path"}}
    )
    return {**text, "cleaning": config.cleaning.model_dump(mode="json")}


def _checksums(config: FilesCorpusConfig, name: str, files: Hashed) -> dict[str, str]:
    return {place: files.sha256(path) for place, path in text_files(config, name).items()}


def _held_out(corpus: Corpus, side: Column) -> frozenset[str]:
    """One side of dev and tests, as it is compared."""
    splits = [Split.DEV.value, *(f"{TEST_PREFIX}{name}" for name in corpus.tests)]
    texts = chain.from_iterable(t for split in splits for t in _column(corpus, split, side))
    return frozenset(map(compared, texts))


def _column(corpus: Corpus, split: str, side: Column) -> Iterator[list[str]]:
    for batch in corpus.batches(split, rows=AT_A_TIME):
        yield batch.column(side).to_pylist()


def _with_source(table: pa.Table) -> pa.Table:
    if Column.SOURCE in table.column_names:
        return table
    return table.append_column(SOURCE, pa.array([PARALLEL] * table.num_rows, pa.string()))


def _rows(pairs: list[Row], name: str) -> pa.Table:
    ids = [pair_id(src, ref) for src, ref in pairs]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    columns = [ids, *sides, [name] * len(pairs)]
    return pa.table(columns, schema=PAIR_SCHEMA.append(SOURCE))


def _translated(sentences: Path, translate: Translate, lost: Counter[str]) -> Iterator[Row]:
    """What a model says of each sentence, and the sentence; empty where it says nothing.

    What did not end is counted and left out: it is no whole sentence.
    """
    for batch in Corpus(sentences).batches(Split.TRAIN, rows=AT_A_TIME):
        said = translate(batch.column(Column.PAIR_ID).to_numpy())
        for src, text in zip(said, batch.column(Column.SRC).to_pylist(), strict=True):
            if src is None:
                lost[UNFINISHED] += 1
            else:
                yield src.strip(), text


def _copy_held_out(corpus: Corpus, folder: Path) -> None:
    for split in (Split.DEV.value, *(f"{TEST_PREFIX}{name}" for name in corpus.tests)):
        shutil.copyfile(corpus.path / f"{split}.parquet", folder / f"{split}.parquet")
