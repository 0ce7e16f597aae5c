"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.translation.sentences import sentences

TEXT = st.text(st.sampled_from("ab .!?。\"'”)\t3"), max_size=40)


@given(TEXT)
def test_nothing_but_space_is_lost(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(TEXT)
def test_no_sentence_is_blank_and_none_has_space_around_it(text):
    assert all(part and part == part.strip() for part in sentences(text))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ('He said: "Go." She went.', 2),
        ("3.14 is no end, nor is www.example.org", 1),
        ("一。二！三", 3),
        ("「一。」二", 2),
        ("Что? Да… Нет.", 3),
        ("no end at all", 1),
        ("", 0),
    ],
)
def test_sentences_end_at_their_punctuation(text, count):
    assert len(sentences(text)) == count
