"""A reference is cut after whole words, at the same place for every model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.prefix import cut, split_references

WORDS = st.lists(st.text("abcé.,’-", min_size=1, max_size=6), min_size=1, max_size=12)
SHARES = st.floats(0, 1)


@pytest.mark.slow
@given(WORDS, SHARES)
def test_both_parts_together_are_the_words_of_the_text(words, share):
    prefix, continuation = cut(" ".join(words), share)
    assert prefix.split() + continuation.split() == words
    assert abs(len(prefix.split()) - share * len(words)) <= 0.5 + 1e-9


@given(WORDS, SHARES, SHARES)
def test_a_greater_share_gives_no_less(words, one, other):
    text = " ".join(words)
    less, more = (cut(text, share)[0] for share in sorted((one, other)))
    assert more.startswith(less)


@given(st.text(max_size=20))
def test_nothing_and_all_of_any_text(text):
    assert cut(text, 0) == ("", text)
    assert cut(text, 1)[1] == "" or not text.strip()


@pytest.mark.parametrize(
    ("text", "share", "parts"),
    [
        ("ein Haus am See", 0.5, ("ein Haus", "am See")),
        ("ein  Haus", 0.5, ("ein", "Haus")),
        ("我使用GPU训练。", 0.4, ("我使用", "GPU训练。")),
        ("これは犬", 0.75, ("これは", "犬")),
        ("น้ำใจ", 0.3, ("น้", "ำใจ")),  # a vowel of its own, but no tone mark is cut off
        ("e\u0301te\u0301", 0.5, ("e\u0301te\u0301", "")),
    ],
)
def test_scripts_without_spaces_are_cut_between_characters(text, share, parts):
    assert cut(text, share) == parts


def test_references_of_which_nothing_is_left_are_left_out():
    parts = split_references(["a b c d", "a", "", "a b"], 0.75)
    assert [(part.row, part.prefix, part.continuation) for part in parts] == [(0, "a b c", "d")]
    assert [part.row for part in split_references(["a", "", "b c"], 0)] == [0, 1, 2]
