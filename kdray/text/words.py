"""What are the words of a text, and how are other words put in their places?

White space separates words. Scripts that are written without spaces have no words that a rule could
find, so there each character is a word of its own, with the marks that follow it.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

# Kana and iteration marks, Han (three times), kana of half width, Thai and Lao, Burmese, Khmer.
_UNSPACED = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\uff66-\uff9f\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_WITH_MARKS = ((0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3099, 0x309A))


def words_of(text: str) -> list[str]:
    """The words of a text, in its order; there is one unless all of it is white space."""
    if text.isascii() or not _IS_UNSPACED.search(text):
        return text.split()
    return [word for _, word in _cut(text)]


def with_words(text: str, words: Sequence[str | None]) -> str:
    """The text with a word, or none, in the place of each of its own.

    White space stays as it is, but for that before a place without a word, and around the text.
    """
    kept = [word for word in words if word is not None]
    old = text.split()
    if len(old) == len(words) and " ".join(old) == text:  # the usual case, and the fast one
        return " ".join(kept)
    places = zip(_cut(text), words, strict=True)
    return "".join(f"{gap}{word}" for (gap, _), word in places if word is not None).lstrip()


def _cut(text: str) -> list[tuple[str, str]]:
    """Each word, behind the white space before it; joined, they are the text but for its end."""
    found: list[tuple[str, str]] = _pattern().findall(text)
    return found


@cache
def _pattern() -> re.Pattern[str]:
    codes = (code for first, last in _WITH_MARKS for code in range(first, last + 1))
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(\s*)([{_UNSPACED}][{marks}]*|[^\s{_UNSPACED}]+)")
