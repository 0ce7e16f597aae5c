"""Words of generated languages: how they are coined, which have a property, how often each occurs.

All randomness is `random.Random.random`, the one method whose sequence Python guarantees across
versions. Imports neither torch nor ray.
"""

import hashlib
import math
import random
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

_BLOCK = 10  # words of neighbouring frequency; each block has its share of words with a property

# Onsets, and the letters of a syllable. Source stems end in a vowel and their suffixes are
# consonants, target stems end in a consonant and their suffixes are vowels. So it is certain where
# the suffix of a word starts.
StemShape = tuple[tuple[str, ...], tuple[str, str]]
SRC_STEMS: StemShape = ((), ("bdfgklmnprstvz", "aeiou"))
TGT_STEMS: StemShape = (("бвгджзклмнпрстхш",), ("аеиоуы", "бвгджзклмнпрстхш"))

Item = TypeVar("Item")


class Sense(NamedTuple):
    """A translation of a source word."""

    stem: str
    gender: int  # of nouns: words that agree with this noun have the suffix of its gender


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A source word: its translations, and how it changes the word order of the target."""

    stem: str
    senses: tuple[Sense, ...]
    is_drawn: bool  # its sense is drawn; otherwise the theme of the governing word selects it
    theme: int  # number of the sense that it selects for ambiguous words that it governs
    moves: bool  # noun before its adjectives, verb behind its object, adverb before its verb, ...
    transitive: bool  # of verbs


def derive(seed: int, purpose: str) -> random.Random:
    """The random numbers of one purpose, independent of those of any other."""
    digest = hashlib.blake2b(f"kdray grammar/{seed}/{purpose}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest))


class Zipf(Generic[Item]):
    """Items drawn with probabilities proportional to 1 / (rank + offset), ranks from 1."""

    def __init__(self, items: Sequence[Item], *, offset: float) -> None:
        cumulative = list(accumulate(1 / (rank + offset) for rank in range(1, len(items) + 1)))
        self._items, self._cumulative = items, [weight / cumulative[-1] for weight in cumulative]

    def draw(self, rng: random.Random) -> Item:
        """One of the items."""
        return self._items[bisect(self._cumulative, rng.random())]

    def entropy(self) -> float:
        """Entropy of a draw in nats."""
        shares = (high - low for low, high in pairwise((0.0, *self._cumulative)))
        return -sum(share * math.log(share) for share in shares)


def coiner(shape: StemShape, rng: random.Random) -> Callable[[int], str]:
    """A function that coins a new stem of about the given number of syllables.

    A stem that exists already is replaced by a longer one.
    """
    onset, syllable = shape
    coined: set[str] = set()

    def coin(syllables: int) -> str:
        stem = ""
        while not stem or stem in coined:
            letters = (*onset, *syllable * (syllables + int(rng.random() * 2)))
            stem = "".join(choice[int(rng.random() * len(choice))] for choice in letters)
            syllables += 1
        coined.add(stem)
        return stem

    return coin


def spread(share: float, size: int, rng: random.Random) -> list[bool]:
    """Which of `size` words have a property: the same share of rare and of frequent ones."""
    chosen = [False] * size
    for start in range(0, size, _BLOCK):
        block = range(start, min(start + _BLOCK, size))
        count = round(share * block.stop) - round(share * start)
        for rank in sorted(block, key=lambda _: rng.random())[:count]:
            chosen[rank] = True
    return chosen
