"""Words are what white space separates, and characters where nothing does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.words import words_of

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts)
def test_nothing_is_lost_but_white_space_at_the_end(text):
    found = words_of(text)
    assert "".join(gap + word for gap, word in found) == text.rstrip()
    assert all(word and not any(map(str.isspace, word)) for _, word in found)
    assert all(not gap.strip() for gap, _ in found)


@given(st.text(st.characters(max_codepoint=0xE00)))
def test_white_space_separates_words(text):
    assert [word for _, word in words_of(text)] == text.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我爱纽约。", "我 爱 纽 约 。"),
        ("我爱 New York，对吗", "我 爱 New York， 对 吗"),
        ("ガソリンと車", "ガ ソ リ ン と 車"),
        ("안녕하세요 여러분", "안녕하세요 여러분"),
        ("ที่นี่", "ที่ นี่"),
        ("ភាសា", "ភា សា"),
    ],
)
def test_scripts_without_spaces_are_cut_into_characters_with_their_marks(text, words):
    assert [word for _, word in words_of(text)] == words.split()
