"""What a teacher makes of text: within the bounds of entropy, and the same however it is read."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.model import ModelConfig
from kdray.measures.measure import Absent, flat
from kdray.measures.teacher import (
    OF_READING,
    OF_SEARCH,
    reading_measures,
    search_measures,
)
from kdray.model.transformer import Transformer
from kdray.teacher.engine import Translation
from kdray.teacher.own import OnlineModels
from kdray.teacher.references import read_references
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

VOCAB, PAIRS = 40, 60
LOG_PROBS = st.lists(st.floats(-80, 0), min_size=2, max_size=8)


def teacher(*seeds, scale=1.0):
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        config = ModelConfig(preset="nano", max_length=32)
        model = Transformer(config, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)
        with torch.no_grad():
            model.output_weight.mul_(scale)
        models.append(model)
    return OnlineModels(models)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    sides = [
        [[*rng.integers(4, VOCAB, rng.integers(1, 9)), EOS] for _ in range(PAIRS)] for _ in range(2)
    ]
    return [Sequences.from_lists(side) for side in sides]


@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.parametrize("members", [(1,), (1, 2)])
def test_entropy_is_between_0_and_that_of_the_uniform_distribution(pairs, members, scale):
    entropy, loss = read_references(
        teacher(*members, scale=scale), *pairs, np.arange(PAIRS), by_perplexity=len(members) > 1
    )
    most = pairs[1].lengths * math.log(VOCAB)
    assert (entropy >= 0).all()
    assert (entropy <= most * (1 + 1e-6)).all()
    assert (loss > 0).all()


def test_a_teacher_that_knows_nothing_has_the_entropy_of_the_vocabulary(pairs):
    read = read_references(teacher(1, scale=0), *pairs, np.arange(PAIRS), by_perplexity=False)
    found = reading_measures(*read, pairs[1].lengths, pairs[1].lengths - 1)
    assert found["entropy_per_token"] == pytest.approx(math.log(VOCAB))
    assert found["loss_per_token"] == pytest.approx(math.log(VOCAB))
    assert found["entropy_per_word"] > found["entropy_per_token"]
    total = pairs[1].lengths.sum() * math.log(VOCAB)
    assert found["loss_per_sentence"] == pytest.approx(total / PAIRS)


@pytest.mark.slow
def test_a_reference_has_the_same_entropy_in_every_batch(pairs):
    model = teacher(1)
    together = read_references(model, *pairs, np.arange(PAIRS), by_perplexity=False)
    rows = np.random.default_rng(2).permutation(PAIRS)[:7]
    for row in rows:
        alone = read_references(model, *pairs, np.array([row]), by_perplexity=False)
        for one, all_ in zip(alone, together, strict=True):
            assert one[0] == pytest.approx(all_[row], rel=1e-5)


def test_pairs_that_a_teacher_cannot_read_leave_a_reason(pairs):
    none = np.zeros(0, dtype=np.int64)
    read = read_references(teacher(1), *pairs, none, by_perplexity=False)
    found = reading_measures(*read, none, none)
    assert set(found) == set(OF_READING)
    assert not flat(found)


def translations(scores, *, finished=True):
    return [Translation(f"t{n}", score, finished) for n, score in enumerate(scores)]


@given(scores=LOG_PROBS)
def test_the_entropy_of_a_beam_is_between_0_and_that_of_equal_translations(scores):
    found = search_measures([translations(scores)])
    assert -1e-9 <= found["beam_entropy"] <= math.log(len(scores)) + 1e-9
    assert found["beam_margin"] >= 0
    assert found["beam_mass"] == pytest.approx(sum(map(math.exp, scores)))
    equal = search_measures([translations([scores[0]] * len(scores))])
    assert equal["beam_entropy"] == pytest.approx(math.log(len(scores)))
    assert equal["beam_margin"] == 0


def test_pieces_of_the_same_text_are_one_translation():
    half = [Translation("a", math.log(0.2), True), Translation("b", math.log(0.4), True)]
    found = search_measures([[*half, Translation("a", math.log(0.2), True)]])
    assert found["beam_entropy"] == pytest.approx(math.log(2))
    assert found["beam_margin"] == pytest.approx(0)


def test_translations_that_did_not_end_do_not_count():
    found = search_measures([[], translations([-1.0]), translations([-1.0, -2.0], finished=False)])
    assert set(found) == set(OF_SEARCH)
    assert all(isinstance(value, Absent) for value in found.values())
