"""What are the words of a text, and what stands between them?

White space separates words. Scripts that are written without spaces have no words that a rule could
find, so there each character is a word of its own, with the marks that follow it.
"""

import re
import unicodedata
from functools import cache

# Kana and iteration marks, Han (three times), kana of half width, Thai and Lao, Burmese, Khmer.
_UNSPACED = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\uff66-\uff9f\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_WITH_MARKS = ((0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3099, 0x309A))


def words_of(text: str) -> list[tuple[str, str]]:
    """Each word of a text, behind the white space that stands before it, which may be empty.

    All of it joined is the text, but for white space at its end.
    """
    found: list[tuple[str, str]] = _pattern().findall(text)
    return found


@cache
def _pattern() -> re.Pattern[str]:
    codes = (code for first, last in _WITH_MARKS for code in range(first, last + 1))
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(\s*)([{_UNSPACED}][{marks}]*|[^\s{_UNSPACED}]+)")
