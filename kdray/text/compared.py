"""How is text compared, and which script is it written in?

Models never see the code points of a file, but what SentencePiece's normalisation makes of them. So
whatever asks whether two texts are equal, or whether there is a text at all, asks it of `compared`.
"""

import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache

import sentencepiece as spm

_RULE = "nmt_nfkc"  # the widest of the tokenizer's rules: what any of them makes equal is equal
_DUMMY_SPACE = "\u2581"  # SentencePiece's sign for a space
# Code points that are never drawn, and that the rule keeps: joiners, selectors, fillers.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200d\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_IGNORED = re.compile(f"[{_IGNORABLE}]")
# What the rule or this file changes although it is in Unicode's form NFKC.
_CHANGED = re.compile(
    f"[{_IGNORABLE}\x00-\x1f\x7f-\x9f\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]|  "
)
# Characters that hold about as much as several letters of an alphabet, as parallel text shows:
# English has 3 characters for each Chinese one, 2.3 for a Japanese and 2 for a Korean one.
_LETTERS_EACH = (
    (2, re.compile("[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),  # Han: + 2
    (1, re.compile("[\u3041-\u30ff\u31f0-\u31ff\uac00-\ud7a3]")),  # kana and Hangul: + 1
)
_FIRST_LETTERS = 24
_LETTER = re.compile(r"[^\W\d_]")


def compared(text: str) -> str:
    """The form in which two texts are compared: what cannot be told apart is equal.

    It is that of SentencePiece's rule `nmt_nfkc`, whatever the recipe's tokenizer does: composed
    and decomposed letters, wide and narrow forms are one, and all white space is single spaces.
    Characters without width are removed too. A text of nothing else is the empty string.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) if "  " in text else text.strip()
    if unicodedata.is_normalized("NFKC", text) and not _CHANGED.search(text):
        return text.strip()
    normal = _IGNORED.sub("", str(_normalizer().normalize(text)))
    return " ".join(normal.replace(_DUMMY_SPACE, " ").split())


def letters(text: str) -> int:
    """Length of a text in letters of an alphabet: about how many hold as much as it does."""
    if _is_western(text):
        return len(text)
    return len(text) + sum(more * len(kind.findall(text)) for more, kind in _LETTERS_EACH)


def script(text: str) -> str:
    """The script of most of the first letters, as Unicode calls it: `Latin`, `Han`, `Hiragana`.

    `none` where there is no letter.
    """
    if _is_western(text):
        return "Latin" if _LETTER.search(text) else "none"
    first = _LETTER.findall(text[: 2 * _FIRST_LETTERS])[:_FIRST_LETTERS]
    scripts = Counter(map(_script_of, first or _LETTER.findall(text)))
    return scripts.most_common(1)[0][0] if scripts else "none"


def _is_western(text: str) -> bool:
    """Whether all of it stands in Latin-1, which is quickly known, and whose letters are Latin."""
    if text.isascii():
        return True
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


@cache
def _script_of(letter: str) -> str:
    first = re.split("[ -]", unicodedata.name(letter, "unnamed"))[0]
    return "Han" if first in ("CJK", "IDEOGRAPHIC") else first.capitalize()


@lru_cache(maxsize=1)
def _normalizer() -> spm.SentencePieceNormalizer:
    return spm.SentencePieceNormalizer(rule_name=_RULE)
