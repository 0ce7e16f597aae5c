"""Noise: words of the training text are deleted, replaced or moved, the more the higher the rate.

Before any rate is known, each side of a pair is cut into units: two neighbours that may change
places, or one word that may be deleted or replaced. Each unit has a number, uniform in [0, 1). At a
rate, what was laid down for them happens to the units whose number is below it, and to no other. So
a higher rate has all the damage of a lower one, each word is damaged with a probability of the
rate, and operations damage equal shares of words.

Numbers are hashes of seed, pair_id, side and position (SplitMix64: Steele, Lea and Flood 2014), so
they depend neither on other pairs nor on order. Words that replace others are running words of the
whole clean text, drawn by such a number. Two things no operation can do:

- No side becomes empty. Where every word of one would be deleted, the one that would be last is
  replaced instead, or stays at every rate where `replace` is not asked for.
- A word without a neighbour that is free cannot change places. At the end of a side it is deleted
  or replaced instead; with `swap` alone it joins the two before it, whose first word then moves
  behind it, and stays at every rate if it is the only one.

Imports neither torch nor ray.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.artifacts import Key
from kdray.config.text import NoiseConfig
from kdray.errors import DataError
from kdray.jobs import NOTES, Counts
from kdray.schema import Column, Split
from kdray.seeds import derive_seed
from kdray.text.corpus import TEST_PREFIX, Corpus
from kdray.text.sequences import offsets_of
from kdray.text.words import with_words, words_of

VERSION = 1
ROWS_AT_A_TIME = 20_000
SAMPLE = 500_000
"""Running words of a side that replacements are drawn from; of a longer text a fixed sample."""

SIDES = {Column.SRC: "source", Column.REF: "target"}
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

Hashes = NDArray[np.uint64]
Lengths = NDArray[np.int64]


class Operation(IntEnum):
    """What may happen to a word."""

    DELETE = 0
    REPLACE = 1
    SWAP_FIRST = 2  # the first word of those that change places
    SWAP = 3  # changes places with the word before it


@dataclass(frozen=True, slots=True)
class Damage:
    """What is laid down for the words of some texts, one text after another.

    Attributes:
        operations: an `Operation` for each word.
        above: each word is damaged at all rates above this; infinity: at none.
        draws: a number in [0, 1) for each word, which chooses what replaces it.
    """

    operations: NDArray[np.uint8]
    above: NDArray[np.float64]
    draws: NDArray[np.float64]


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


def damage_of(
    config: NoiseConfig, side: Column, pair_ids: NDArray[np.int64], lengths: Lengths
) -> Damage:
    """What is laid down for texts of so many words, whatever the rate; `lengths` are above 0."""

    def numbers(purpose: str) -> NDArray[np.float64]:
        hashes = _hashes(purpose, config.seed, side, pair_ids, lengths)
        return np.asarray((hashes >> np.uint64(11)) * 2.0**-53, dtype=np.float64)

    above = numbers("rate")
    others = [Operation[name.upper()] for name in sorted(config.operations) if name != "swap"]
    operations = np.full(len(above), Operation.SWAP_FIRST, dtype=np.uint8)
    if others:
        chosen = (numbers("operation") * len(others)).astype(np.int64)
        operations = np.array(others, dtype=np.uint8)[chosen]
    if "swap" in config.operations:
        # The share of units that gives each of n operations the same share of words.
        begins = numbers("swap") < 1 / (2 * len(config.operations) - 1)
        _lay_down_swaps(operations, above, begins, lengths, is_alone=not others)
    _spare_one(operations, above, lengths, replaces=Operation.REPLACE in others)
    return Damage(operations, above, numbers("replacement"))


def noisy(
    texts: Sequence[str],
    words: Sequence[Sequence[str]],
    damage: Damage,
    rate: float,
    replacements: Sequence[str] = (),
) -> Iterator[str]:
    """Texts with the damage of a rate. `words` are those of each, see `words_of`.

    `replacements` are running words of the text that the texts are of.
    """
    places = np.flatnonzero(damage.above < rate)
    hits = zip(
        places.tolist(),
        damage.operations[places].tolist(),
        damage.draws[places].tolist(),
        strict=True,
    )
    stops = np.cumsum([len(of_text) for of_text in words])
    numbers = np.diff(np.searchsorted(places, stops), prepend=0)
    start = 0
    for text, old, stop, number in zip(texts, words, stops.tolist(), numbers.tolist(), strict=True):
        new: list[str | None] = list(old) if number else []
        for place, operation, draw in islice(hits, number):
            here = place - start
            if operation == Operation.DELETE:
                new[here] = None
            elif operation == Operation.REPLACE:
                new[here] = _another(replacements, old[here], draw)
            elif operation == Operation.SWAP:
                new[here - 1], new[here] = new[here], new[here - 1]
        yield with_words(text, new) if number else text
        start = stop


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


def _lay_down_swaps(
    operations: NDArray[np.uint8],
    above: NDArray[np.float64],
    begins: NDArray[np.bool_],
    lengths: Lengths,
    *,
    is_alone: bool,
) -> None:
    """Write into the arrays which words change places, and one number for those that do together.

    A word that `begins` does so with the next one, unless it does so with the one before it.
    """
    last = offsets_of(lengths)[1:] - 1
    begins[last] = False
    places = np.arange(len(begins))
    run_starts = np.maximum.accumulate(np.where(begins, -1, places)) + 1
    first = np.flatnonzero(begins & ((places - run_starts) % 2 == 0))
    operations[first], operations[first + 1] = Operation.SWAP_FIRST, Operation.SWAP
    above[first + 1] = above[first]
    if is_alone:
        left = last[operations[last] == Operation.SWAP_FIRST]
        joins = np.isin(left, last[lengths > 1])
        operations[left[joins]] = Operation.SWAP
        above[left[joins]] = above[left[joins] - 1]
        above[left[~joins]] = np.inf


def _spare_one(
    operations: NDArray[np.uint8], above: NDArray[np.float64], lengths: Lengths, *, replaces: bool
) -> None:
    """Write into the arrays which word stays of each text whose words would all be deleted."""
    starts = offsets_of(lengths)[:-1]
    empties = np.logical_and.reduceat(operations == Operation.DELETE, starts)
    is_last = above == np.repeat(np.maximum.reduceat(above, starts), lengths)
    stays = is_last & np.repeat(empties, lengths)
    if replaces:
        operations[stays] = Operation.REPLACE
    else:
        above[stays] = np.inf


def _hashes(
    purpose: str, seed: int, side: Column, pair_ids: NDArray[np.int64], lengths: Lengths
) -> Hashes:
    """A hash of each word of some texts, for a purpose."""
    key = np.uint64(derive_seed("noise", seed, side, purpose))
    of_pairs = _mixed(pair_ids.astype(np.uint64) ^ key)
    positions = np.arange(lengths.sum()) - np.repeat(offsets_of(lengths)[:-1], lengths)
    return _mixed(np.repeat(of_pairs, lengths) + (positions + 1).astype(np.uint64) * _STEP)


def _mixed(numbers: Hashes) -> Hashes:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FACTORS[0]
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _FACTORS[1]
    return numbers ^ (numbers >> np.uint64(31))


def _another(words: Sequence[str], word: str, draw: float) -> str:
    """A running word of the text that is another word, by a number in [0, 1)."""
    place = int(draw * len(words))
    while words[place] == word:
        place = (place + 1) % len(words)
    return words[place]


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
            hashes = _hashes("sample", seed, side, pair_ids, lengths)
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
