"""Damage: words are deleted, replaced or moved, the more the higher the rate.

Before any rate is known, each side of a pair is cut into units: two neighbours that may change
places, or one word that may be deleted or replaced. Each unit has a number, uniform in [0, 1). At a
rate, what was laid down for them happens to the units whose number is below it, and to no other. So
a higher rate has all the damage of a lower one, each word is damaged with a probability of the
rate, and operations damage equal shares of words.

Numbers are hashes of seed, pair_id, side and position (SplitMix64: Steele, Lea and Flood 2014), so
they depend neither on other pairs nor on order; such a number also draws what replaces a word. Two
things no operation can do:

- No side becomes empty. Where every word of one would be deleted, the one that would be last is
  replaced instead, or stays at every rate where `replace` is not asked for.
- A word without a neighbour that is free cannot change places. At the end of a side it is deleted
  or replaced instead; with `swap` alone it joins the two before it, whose first word then moves
  behind it, and stays at every rate if it is the only one.

Imports neither torch nor ray.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kdray.config.text import NoiseConfig
from kdray.schema import Column
from kdray.seeds import derive_seed
from kdray.text.sequences import offsets_of
from kdray.text.words import with_words

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


def damage_of(
    config: NoiseConfig, side: Column, pair_ids: NDArray[np.int64], lengths: Lengths
) -> Damage:
    """What is laid down for texts of so many words, whatever the rate; `lengths` are above 0."""

    def numbers(purpose: str) -> NDArray[np.float64]:
        hashes = hashes_of(purpose, config.seed, side, pair_ids, lengths)
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


def hashes_of(
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
