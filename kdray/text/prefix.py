"""Where is a reference cut, when a share of it is given to a model that is to go on?

After whole words, and so at the same place for models of all vocabularies. The scripts that write
no spaces are cut between characters.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, punctuation, kana, Bopomofo
    (0x31A0, 0x9FFF),  # more of these, and Han
    (0xF900, 0xFAFF),  # Han for compatibility
    (0xFF00, 0xFFEF),  # wide and narrow forms
    (0x1B000, 0x1B16F),  # more kana
    (0x20000, 0x3FFFF),  # more Han
)
"""Code points of the scripts that write no spaces between words, first and last of each range."""


@dataclass(frozen=True, slots=True)
class Given:
    """A reference in two parts, and its place among all references."""

    row: int
    prefix: str  # may be empty
    continuation: str  # never is


def split_references(refs: Sequence[str], share: float) -> list[Given]:
    """Cut references; those of which nothing would be left to write are left out.

    A share of 0 gives nothing of any.
    """
    parts = [Given(row, *cut(ref, share)) for row, ref in enumerate(refs)]
    return [part for part in parts if part.continuation or share == 0]


def cut(text: str, share: float) -> tuple[str, str]:
    """The first words of a text, and the rest: `share` of the words, rounded to whole ones.

    A half is rounded up. Neither part begins or ends with the space between them.
    """
    if share == 0:
        return "", text
    begins = [place for place in range(len(text)) if _begins_word(text, place)]
    given = int(share * len(begins) + 0.5)
    if given == 0:
        return "", text
    place = begins[given] if given < len(begins) else len(text)
    return text[:place].rstrip(), text[place:]


def _begins_word(text: str, place: int) -> bool:
    character = text[place]
    if character.isspace():
        return False
    if place == 0 or text[place - 1].isspace():
        return True
    if unicodedata.category(character).startswith("M"):  # it belongs to the character before it
        return False
    return _is_unspaced(character) or _is_unspaced(text[place - 1])


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return code >= _UNSPACED[0][0] and any(low <= code <= high for low, high in _UNSPACED)
