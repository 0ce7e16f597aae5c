"""The language model is one, and finds the sentences of a domain among others."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.domain import most_similar
from kdray.text.ngrams import NgramModel, positions, vocabulary

SENTENCES = st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=6)


@pytest.mark.slow
@given(SENTENCES)
def test_probabilities_after_each_history_sum_to_one(sentences):
    known = vocabulary(sentences)
    model = NgramModel(sentences, known)
    words = [1, 2, *known.values()]  # the end, an unknown word, and those that are known
    for history in itertools.product([0, *words], repeat=2):
        rows = np.array([[*history, word] for word in words])
        assert model._probabilities(rows).sum() == pytest.approx(1.0)


@pytest.mark.slow
@given(SENTENCES, SENTENCES)
def test_cross_entropy_is_of_each_sentence_alone(sentences, others):
    model = NgramModel(sentences, vocabulary(sentences))
    together = model.cross_entropy(others)
    alone = [model.cross_entropy([sentence])[0] for sentence in others]
    assert together == pytest.approx(alone)
    assert (together > 0).all()


def test_each_word_stands_behind_the_two_before_it():
    rows, lengths = positions([["a", "x"], []], {"a": 3})
    assert rows.tolist() == [[0, 0, 3], [0, 3, 2], [3, 2, 1], [0, 0, 1]]
    assert lengths.tolist() == [3, 1]


CAPTIONS = [f"a {who} in a {what} shirt is {how}" for who in ("man", "woman", "boy")
            for what in ("red", "blue", "green") for how in ("running", "sitting")]  # fmt: skip
NEWS = [f"the {who} said on {day} that {what} rose" for who in ("bank", "minister", "firm")
        for day in ("monday", "friday") for what in ("prices", "taxes", "shares")]  # fmt: skip


def test_sentences_of_the_domain_are_chosen():
    mixed = [text for pair in zip(CAPTIONS, NEWS, strict=True) for text in pair]
    chosen = most_similar(NEWS[::3], lambda: iter(mixed), keep=len(NEWS))
    picked = {text for text, is_chosen in zip(mixed, chosen, strict=True) if is_chosen}
    assert picked == set(NEWS)


@pytest.mark.parametrize("keep", [1, 5, 100])
def test_as_many_are_chosen_as_are_asked_for(keep):
    mixed = CAPTIONS + NEWS
    chosen = most_similar(NEWS, lambda: iter(mixed), keep=keep)
    assert chosen.sum() == min(keep, len(mixed))
