"""Words are what white space separates, and characters where nothing does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.words import with_words, words_of

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts)
def test_a_text_with_its_own_words_is_itself(text):
    words = words_of(text)
    assert with_words(text, words) == text.strip()
    assert "".join(words) == "".join(text.split())
    assert bool(words) == bool(text.strip())


@pytest.mark.slow
@given(texts, st.randoms())
def test_places_without_a_word_go_and_all_others_stay(text, rng):
    words = words_of(text)
    kept = [word if rng.random() < 0.5 else None for word in words]
    found = with_words(text, kept)
    assert "".join(found.split()) == "".join(word for word in kept if word is not None)
    assert found == found.strip()
    characters = iter(text)
    assert all(character in characters for character in found)


@given(st.text(st.characters(max_codepoint=0xE00)))
def test_white_space_separates_words(text):
    assert words_of(text) == text.split()


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
    assert words_of(text) == words.split()
