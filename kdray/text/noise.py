"""Noisy corpora: the training text of a clean one with the damage of a rate.

What is damaged is laid down before any rate is known, see `kdray.text.damage`. Words that replace
others are running words of the whole clean text. Imports neither torch nor ray.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.artifacts import Key
from kdray.config.text import NoiseConfig
from kdray.errors import DataError
from kdray.jobs import NOTES, Counts
from kdray.schema import Column, Split
from kdray.text.corpus import TEST_PREFIX, Corpus
from kdray.text.damage import Hashes, Lengths, Operation, damage_of, hashes_of, noisy
from kdray.text.sequences import offsets_of
from kdray.text.words import words_of

VERSION = 1
ROWS_AT_A_TIME = 20_000
SAMPLE = 500_000
"""Running words of a side that replacements are drawn from; of a longer text a fixed sample."""

SIDES = {Column.SRC: "source", Column.REF: "target"}


def noise_key(config: NoiseConfig, corpus: Key) -> Key:
    """Identity of a noisy corpus; who learns it is no part of it."""
    recipe = config.model_dump(mode="json", exclude={"teacher_learns"})
    recipe["operations"] = sorted(config.operations)
    return Key("noise", VERSION, recipe, {"corpus": corpus.fingerprint})


def build_noise(config: NoiseConfig, corpus: Path, folder: Path) -> Counts:
    """Write a corpus whose training text is damaged, with the pair_ids of the clean one. -> counts.

    `words`, `damaged` and `realised_rate`: of each damaged side, its words, how many of them each
    operation damaged, and their share. `spared`: words that no rate damages. `pairs_left_alone`:
    pairs without damage. Memory does not grow with the corpus.

    Raises:
        DataError: the corpus cannot be read, or a side has no second word that replaces the first.
    """
    clean = Corpus(corpus)
    sides = [column for column, side in SIDES.items() if config.side in (side, "both")]
    replacing = "replace" in config.operations
    drawn = _running_words(clean, sides, config.seed) if replacing else {}
    tallies = {side: Counter[str]() for side in sides}
    rows = left_alone = 0
    path = folder / f"{Split.TRAIN}.parquet"
    schema = next(clean.batches(Split.TRAIN, rows=1)).schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in clean.batches(Split.TRAIN, rows=ROWS_AT_A_TIME):
            hits = np.zeros(batch.num_rows, dtype=np.int64)
            for side in sides:
                batch, of_side = _damaged(batch, side, config, drawn.get(side, ()), tallies[side])
                hits += of_side
            writer.write_batch(batch)
            rows += batch.num_rows
            left_alone += int((hits == 0).sum())
    for split in (Split.DEV, *(f"{TEST_PREFIX}{name}" for name in clean.tests)):
        shutil.copyfile(corpus / f"{split}.parquet", folder / f"{split}.parquet")
    return _counts(config, tallies, rows=rows, left_alone=left_alone)


def _damaged(
    batch: pa.RecordBatch,
    side: Column,
    config: NoiseConfig,
    replacements: Sequence[str],
    tally: Counter[str],
) -> tuple[pa.RecordBatch, Lengths]:
    """The batch with a noisy side, and how many words of each row are damaged there."""
    old = batch[side].to_pylist()
    words, lengths = _words(old)
    damage = damage_of(config, side, batch[Column.PAIR_ID].to_numpy(), lengths)
    is_hit = damage.above < config.rate
    tally["words"] += len(is_hit)
    tally["spared"] += int(np.isinf(damage.above).sum())
    for code, count in enumerate(np.bincount(damage.operations[is_hit], minlength=4).tolist()):
        tally[Operation(code).name.removesuffix("_FIRST").lower()] += count
    new = pa.array(noisy(old, words, damage, config.rate, replacements), pa.string())
    column = batch.schema.get_field_index(side)
    hits = np.add.reduceat(is_hit.astype(np.int64), offsets_of(lengths)[:-1])
    return batch.set_column(column, batch.schema.field(column), new), hits


def _words(texts: Sequence[str]) -> tuple[list[list[str]], Lengths]:
    """The words of each text, and their number."""
    words = [words_of(text) for text in texts]
    return words, np.array([len(of_text) for of_text in words], dtype=np.int64)


def _running_words(
    corpus: Corpus, sides: Sequence[Column], seed: int
) -> Mapping[Column, list[str]]:
    """For each side the running words with the smallest hashes, at random places of the text.

    Raises:
        DataError: a side holds only one word, over and over.
    """
    samples = {side: _Sample() for side in sides}
    for batch in corpus.batches(Split.TRAIN, rows=ROWS_AT_A_TIME):
        pair_ids = batch[Column.PAIR_ID].to_numpy()
        for side, sample in samples.items():
            words, lengths = _words(batch[side].to_pylist())
            hashes = hashes_of("sample", seed, side, pair_ids, lengths)
            sample.add(hashes, list(chain.from_iterable(words)))
    drawn = {side: sample.words() for side, sample in samples.items()}
    for side, of_side in drawn.items():
        if len(set(of_side)) < 2:
            raise DataError(
                f"corpus: the {SIDES[side]} side of the training text has no second word, so none "
                "can replace the first; leave replace out of recipe.corpus.noise.operations"
            )
    return drawn


class _Sample:
    """The words with the smallest hashes among all that were added, in whatever order."""

    def __init__(self) -> None:
        self._hashes: list[Hashes] = []
        self._words: list[str] = []
        self._largest = np.uint64(np.iinfo(np.uint64).max)

    def add(self, hashes: Hashes, words: Sequence[str]) -> None:
        """Look at more words."""
        places = np.flatnonzero(hashes <= self._largest)
        self._hashes.append(hashes[places])
        self._words += [words[place] for place in places.tolist()]
        if len(self._words) > 2 * SAMPLE:
            self._shrink()

    def words(self) -> list[str]:
        """The sample, in the order of the hashes, which is a random one."""
        self._shrink()
        return self._words

    def _shrink(self) -> None:
        hashes = np.concatenate(self._hashes)
        order = np.argsort(hashes)[:SAMPLE]
        self._hashes, self._words = [hashes[order]], [self._words[i] for i in order.tolist()]
        if len(order) == SAMPLE:
            self._largest = hashes[order[-1]]


def _counts(
    config: NoiseConfig, tallies: Mapping[Column, Counter[str]], *, rows: int, left_alone: int
) -> Counts:
    names = sorted(config.operations)
    damaged = {side.value: {name: tally[name] for name in names} for side, tally in tallies.items()}
    words = {side.value: tally["words"] for side, tally in tallies.items()}
    rates = {side: sum(of_side.values()) / words[side] for side, of_side in damaged.items()}
    spared = {side.value: tally["spared"] for side, tally in tallies.items()}
    of_sides = " and ".join(
        f"{rates[side]:.1%} of the {SIDES[side]}'s words "
        f"({', '.join(f'{name} {count}' for name, count in damaged[side.value].items())})"
        for side in tallies
    )
    counts: dict[str, Any] = {
        "words": words,
        "damaged": damaged,
        "realised_rate": rates,
        "spared": spared,
        "pairs_left_alone": left_alone,
    }
    note = f"noise damaged {of_sides}; {left_alone} of {rows} training pairs are as they were"
    return {**counts, NOTES: [note]}
