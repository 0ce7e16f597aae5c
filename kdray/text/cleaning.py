"""Which training pairs are dropped, for which reason, and how much of dev and test is in train.

Cleaning never alters text, except that `stripped` first removes surrounding white space from both
sides of every pair, in dev and test too. What it asks of a text it asks of its `compared` form, as
models see it. Every dropped pair is counted under one reason, and by the scripts of its sides.
Imports neither torch nor ray.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from kdray.config.text import CleaningConfig
from kdray.schema import Split
from kdray.text.compared import compared, letters

Pair = tuple[str, str]  # source, reference

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd]")  # category Cc except tab, and U+FFFD


class Drop(StrEnum):
    """Why a training pair was dropped. Of several reasons, the first in this order is counted."""

    EMPTY = "empty"  # a side has no text, or only characters that are never seen
    CONTROL = "control"  # a control character other than tab, or U+FFFD: decoding went wrong
    TOO_LONG = "too_long"  # words or characters
    RATIO = "ratio"  # one side is much longer than the other
    IDENTICAL = "identical"  # both sides are the same text
    OVERLAP = "overlap"  # both sides occur in dev or test
    DUPLICATE = "duplicate"  # an equal pair was kept before


READ = "read"
_LENGTH_RULES = ((Drop.TOO_LONG, "max_words or max_chars"), (Drop.RATIO, "max_ratio"))
_ENOUGH_PAIRS = 100  # of two scripts, to speak of a share
_COSTLY = 0.02
_MUCH = 0.1  # of a test


def stripped(pair: Pair) -> Pair:
    """Both sides without surrounding white space, the only change that text undergoes."""
    return pair[0].strip(), pair[1].strip()


def pair_digest(src: str, ref: str, *, size: int, occurrence: int = 0) -> bytes:
    """`size` bytes of BLAKE2b over both sides, their lengths and a number."""
    one, other = src.encode(), ref.encode()
    lengths = len(one).to_bytes(8, "little"), len(other).to_bytes(8, "little")
    content = b"".join((lengths[0], one, lengths[1], other, occurrence.to_bytes(8, "little")))
    return hashlib.blake2b(content, digest_size=size).digest()


class HeldOut:
    """The dev and test pairs, and which of them the training text contains, `compared`."""

    def __init__(self, splits: Mapping[str, Sequence[Pair]]) -> None:
        self._splits = {
            name: [(compared(src), compared(ref)) for src, ref in pairs]
            for name, pairs in splits.items()
        }
        everything = [pair for pairs in self._splits.values() for pair in pairs]
        self._sources = {src for src, _ in everything}
        self._references = {ref for _, ref in everything}
        keys = dict.fromkeys(key for pair in everything for key in _overlap_keys(pair))
        self._numbers = {key: number for number, key in enumerate(keys)}
        self._letters = (
            {_ascii_letters(src) for src in self._sources},
            {_ascii_letters(ref) for ref in self._references},
        )
        # Numbers of keys that occur in any training pair (False), and in those kept (True).
        self._matched: dict[bool, set[int]] = {False: set(), True: set()}

    def has_both_sides(self, src: str, ref: str) -> bool:
        """Whether source and reference, as they are compared, each occur in dev or test."""
        return src in self._sources and ref in self._references

    def matches(self, src: str, ref: str) -> list[int]:
        """Numbers of what a training pair, as it is compared, has in common with dev and test."""
        letters_of_src, letters_of_ref = self._letters
        if _ascii_letters(src) not in letters_of_src and _ascii_letters(ref) not in letters_of_ref:
            return []  # as for nearly all pairs: no words are equal, so nothing is
        keys = _overlap_keys((src, ref))
        return [self._numbers[key] for key in keys if key in self._numbers]

    def record(self, numbers: Iterable[int], *, kept: bool) -> None:
        """Note what training pairs have in common; `kept`: cleaning did not drop them."""
        self._matched[False].update(numbers)
        if kept:
            self._matched[True].update(numbers)

    def observe(self, src: str, ref: str, *, kept: bool) -> None:
        """Compare a training pair with dev and test."""
        self.record(self.matches(compared(src), compared(ref)), kept=kept)

    def overlap(self, *, kept: bool) -> dict[str, dict[str, int]]:
        """For each split, how many of its pairs match an observed training pair, or a kept one.

        `pair`, `src` and `tgt` count matches of both sides together, of the source, of the
        target; `pair_words`, `src_words` and `tgt_words` compare lower-cased words alone.
        """
        matched = self._matched[kept]
        counts = {}
        for name, pairs in self._splits.items():
            keys = (key for pair in pairs for key in _overlap_keys(pair))
            matches = Counter(key[0] for key in keys if self._numbers[key] in matched)
            counts[name] = {kind: matches[kind] for kind in _OVERLAP_KINDS}
        return counts

    def seen_by_choice(self) -> list[str]:
        """Tests that share much with dev, in words: what chooses models does not judge them."""
        dev = set(self._splits.get(Split.DEV, ()))
        shared = {
            name: sum(pair in dev for pair in pairs)
            for name, pairs in self._splits.items()
            if name != Split.DEV
        }
        return [
            f"{name}: {many} of {len(self._splits[name])} pairs are in dev too, by which models "
            "are chosen; its scores are not of unseen text"
            for name, many in shared.items()
            if many > _MUCH * len(self._splits[name])
        ]


def fault(
    config: CleaningConfig, held_out: HeldOut | None, raw: Pair, src: str, ref: str
) -> Drop | None:
    """Why a pair is dropped whatever other pairs there are, None if it is not.

    Both sides of `raw` are stripped already; `src` and `ref` are they as they are compared.
    """
    if not src or not ref:
        return Drop.EMPTY
    if config.drop_control and (_CONTROL.search(raw[0]) or _CONTROL.search(raw[1])):
        return Drop.CONTROL
    longer = max(len(src), len(ref))
    if longer > config.max_chars:
        return Drop.TOO_LONG
    # n words and the spaces between them are 2n - 1 characters: most pairs need no counting.
    may_have_more = longer > 2 * config.max_words
    if may_have_more and max(len(src.split()), len(ref.split())) > config.max_words:
        return Drop.TOO_LONG
    fewer, more = sorted((letters(src), letters(ref)))
    if more >= config.ratio_slack and more > config.max_ratio * fewer:
        return Drop.RATIO
    if config.drop_identical and src == ref:
        return Drop.IDENTICAL
    if config.drop_overlap and held_out is not None and held_out.has_both_sides(src, ref):
        return Drop.OVERLAP
    return None


def costs(by_script: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What rules about length cost a pair of scripts more than a few pairs, in words.

    `by_script`: of each pair of scripts how many were READ, and dropped for each reason.
    """
    return [
        f"cleaning dropped {counts.get(rule, 0) / counts[READ]:.1%} of the {scripts} pairs as "
        f"{rule.value} ({counts.get(rule, 0)} of {counts[READ]}); look at drops.parquet, and if "
        f"these are translations, raise {key} in corpus.cleaning"
        for scripts, counts in by_script.items()
        for rule, key in _LENGTH_RULES
        if counts[READ] >= _ENOUGH_PAIRS and counts.get(rule, 0) > _COSTLY * counts[READ]
    ]


_OVERLAP_KINDS = ("pair", "src", "tgt", "pair_words", "src_words", "tgt_words")


def _overlap_keys(pair: Pair) -> Iterator[tuple[str, ...]]:
    """For each of `_OVERLAP_KINDS` its name, followed by the texts that must be equal."""
    words = _only_words(pair[0]), _only_words(pair[1])
    for suffix, (src, ref) in (("", pair), ("_words", words)):
        yield f"pair{suffix}", src, ref
        yield f"src{suffix}", src
        yield f"tgt{suffix}", ref


class _WordCharacters(dict[int, int]):
    """A translation table that turns all but letters, their marks and numbers into spaces."""

    def __missing__(self, code: int) -> int:
        kept = unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if kept else ord(" ")
        return self[code]


_WORD_CHARACTERS = _WordCharacters()
_NO_ASCII_LETTERS = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz0123456789"))


def _ascii_letters(text: str) -> bytes:
    """The ASCII letters and digits of a text, which are the same if its words are, and soon had."""
    return text.lower().encode().translate(None, _NO_ASCII_LETTERS)


def _only_words(text: str) -> str:
    """The lower-cased words without punctuation; a text without words stays as it is."""
    return " ".join(text.lower().translate(_WORD_CHARACTERS).split()) or text
