"""Measures of text obey their formulas, and follow the knobs of text whose truth is known."""

import math
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.text import GrammarConfig
from kdray.measures.aligner import NOTHING, align
from kdray.measures.measure import Absent, flat
from kdray.measures.sample import sample
from kdray.measures.text import (
    DRAWS,
    alignment_measures,
    conditional_entropy,
    link_measures,
    rare_words,
    repeated_sources,
    side_measures,
    text_measures,
    type_token_ratio,
    words_of,
)
from kdray.schema import Column
from kdray.text.encoded import EncodedSplit, encode_table
from kdray.text.grammar import Grammar
from kdray.text.lexicon import derive
from kdray.text.pairing import source_hashes
from kdray.text.sequences import Sequences, write_table

IDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50, unique=True)


def text(count, *, seed=1, **knobs):
    """Sources, references, and the place of the source word of each target word."""
    language = Grammar(GrammarConfig(**knobs), seed=seed)
    rng = derive(7, "trees")
    src, refs, places = [], [], []
    for number in range(count):
        tree = language.sample_tree(rng)
        src.append(language.source(tree).split())
        refs.append(language.translate(tree, derive(number, "senses")).split())
        places.append([tree.source.index(token) for token in tree.target])
    return src, refs, places


def numbered(sentences):
    words = {word: number for number, word in enumerate(sorted({w for s in sentences for w in s}))}
    return Sequences.from_lists([[words[word] for word in sentence] for sentence in sentences])


@pytest.mark.slow
@given(ids=IDS, most=st.integers(1, 60), order=st.randoms())
def test_a_sample_depends_on_the_set_of_pairs_and_grows_at_its_end(ids, most, order):
    chosen = np.array(ids)[sample(np.array(ids), most)]
    order.shuffle(ids)
    assert list(np.array(ids)[sample(np.array(ids), most)]) == list(chosen)
    assert len(chosen) == min(most, len(ids))
    assert list(np.array(ids)[sample(np.array(ids), most + 5)][:most]) == list(chosen)


def test_a_sample_of_neighbouring_ids_is_spread_over_them():
    rows = sample(np.arange(10_000), 1000)
    assert abs(rows.mean() - 5000) < 300


def test_words_are_cut_at_spaces_punctuation_and_ideographs():
    assert words_of(["Das Haus, das (rote)!", "我们 go"]) == [
        ["das", "haus", ",", "das", "(", "rote", ")", "!"],
        ["我", "们", "go"],
    ]


def test_the_type_token_ratio_is_that_of_random_draws():
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 60, 150)
    words = np.repeat(np.arange(len(counts)), counts)
    drawn = [len(set(rng.permutation(words)[:DRAWS])) / DRAWS for _ in range(400)]
    spread = np.std(drawn) / math.sqrt(len(drawn))
    assert type_token_ratio(counts) == pytest.approx(np.mean(drawn), abs=5 * spread)


def test_the_type_token_ratio_does_not_depend_on_the_length_of_the_text():
    counts = np.random.default_rng(1).integers(200, 400, 800)
    assert type_token_ratio(7 * counts) == pytest.approx(type_token_ratio(counts), rel=0.01)
    assert type_token_ratio(np.ones(DRAWS, dtype=int)) == pytest.approx(1)
    assert type_token_ratio(np.array([10 * DRAWS])) == pytest.approx(1 / DRAWS)


def test_rare_words_are_counted_as_they_run():
    assert rare_words(np.array([4] * 50 + [5] * 160)) == pytest.approx(0.2)


@pytest.mark.parametrize("measure", [type_token_ratio, rare_words])
def test_a_text_that_is_too_short_has_a_reason(measure):
    few = measure(np.array([DRAWS - 1]))
    assert isinstance(few, Absent)
    assert str(DRAWS - 1) in few.reason


def test_targets_of_repeated_sources_are_counted_once_each():
    src = np.array([5, 5, 5, 7, 9, 9])
    with_target = np.array([1, 2, 1, 3, 4, 4])
    assert repeated_sources(src, with_target) == {
        "repeated_sources": 2,
        "targets_of_repeated_source": 1.5,
    }
    none = repeated_sources(src[3:5], with_target[3:5])
    assert none["repeated_sources"] == 0
    assert isinstance(none["targets_of_repeated_source"], Absent)


def test_conditional_entropy_is_that_of_the_counts():
    given_, values = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 0])
    assert conditional_entropy(given_, values) == pytest.approx(4 / 6 * math.log(4))


@pytest.mark.parametrize(
    ("places", "monotonicity"), [([0, 1, 2], 1), ([2, 1, 0], 0), ([0, 2, 1], 2 / 3)]
)
def test_links_give_order_and_fertility(places, monotonicity):
    src, tgt = Sequences.from_lists([[0, 1, 2]]), Sequences.from_lists([[0, 1, 2, 2]])
    found = link_measures(src, tgt, np.array([*places, NOTHING]))
    assert found["monotonicity"] == pytest.approx(monotonicity)
    assert (found["fertility_mean"], found["unaligned"]) == (1, 0)
    doubled = link_measures(src, tgt, np.array([1, 1, 1, NOTHING]))
    assert doubled["unaligned"] == pytest.approx(2 / 3)
    assert doubled["fertility_sd"] == pytest.approx(math.sqrt(2))
    assert isinstance(doubled["monotonicity"], Absent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knobs", "least"),
    [
        ({"ambiguity": 0, "reordering": 0}, 0.99),  # 1.000 was seen
        ({"ambiguity": 0, "agreement": False}, 0.96),  # 0.977
        ({"ambiguity": 0.5}, 0.93),  # 0.949
    ],
    ids=["in order", "reordered", "ambiguous"],
)
def test_the_aligner_finds_the_alignment_that_generated_the_text(knobs, least):
    src, refs, truth = text(1500, **knobs)
    found = align(numbered(src), numbered(refs))
    assert np.mean(found == np.concatenate(truth)) >= least


@pytest.mark.slow
def test_an_alignment_depends_on_the_words_and_not_on_their_numbers():
    src, refs, _ = text(200)
    one = align(numbered(src), numbered(refs))
    other = align(numbered([[word[::-1] for word in s] for s in src]), numbered(refs))
    assert np.mean(one == other) > 0.999  # sums of other orders


def measured(**knobs):
    src, refs, _ = text(1500, **knobs)
    found = alignment_measures(src, refs)
    assert len(flat(found)) == len(found)
    return found


@pytest.mark.slow
def test_lexical_entropy_grows_with_ambiguity():
    found = [measured(ambiguity=a, context=0) for a in (0, 0.5, 1)]
    for less, more in pairwise(found):
        assert more["lexical_entropy"] > less["lexical_entropy"] + 0.2


@pytest.mark.slow
def test_monotonicity_falls_with_reordering_alone():
    found = [measured(ambiguity=0, reordering=r) for r in (0, 0.5, 1)]
    for less, more in pairwise(found):
        assert more["monotonicity"] < less["monotonicity"] - 0.05
        assert more["lexical_entropy"] == pytest.approx(less["lexical_entropy"], abs=0.1)
    assert found[0]["monotonicity"] > 0.98


@pytest.mark.slow
def test_words_in_another_order_change_the_order_alone():
    src, refs, _ = text(1500, reordering=0)
    draw = random.Random(1)
    mixed = [draw.sample(words, len(words)) for words in refs]
    pieces = np.array([len(words) for words in refs])
    assert side_measures(mixed, pieces) == side_measures(refs, pieces)
    before, after = alignment_measures(src, refs), alignment_measures(src, mixed)
    assert after["monotonicity"] < before["monotonicity"] - 0.2
    for name in ("lexical_entropy", "fertility_mean"):
        assert after[name] == pytest.approx(before[name], abs=0.25)


def test_too_few_pairs_have_a_reason_and_no_alignment():
    src, refs, _ = text(50)
    found = alignment_measures([*src, []], [*refs, ["x"]])
    assert found.pop("aligned_pairs") == 50
    assert all(isinstance(value, Absent) and "50 pairs" in value.reason for value in found.values())


@pytest.fixture
def splits(tmp_path, toy_tokenizers):
    """A corpus as a table and as ids, in any order of its rows."""
    src, refs, _ = text(1100)
    lines = {Column.SRC: [" ".join(s) for s in src], Column.REF: [" ".join(r) for r in refs]}
    table = pa.table({Column.PAIR_ID: pa.array(range(len(src)), pa.int64()), **lines})

    def in_order(rows):
        chosen = table.take(rows)
        write_table(tmp_path / "train.arrow", encode_table(chosen, toy_tokenizers["joint"]))
        return chosen, EncodedSplit.load(tmp_path, "train")

    return in_order


@pytest.mark.slow
def test_measures_do_not_depend_on_the_order_of_pairs(splits):
    rows = list(range(1100))
    found = text_measures(*splits(rows))
    assert text_measures(*splits(random.Random(1).sample(rows, len(rows)))) == found
    assert found["pairs"] == 1100
    assert found["src/words_mean"] == found["ref/words_mean"]  # word for word
    assert len(flat(found)) >= len(found) - 1


@pytest.mark.slow
def test_a_corpus_of_one_pair_has_reasons_and_lengths(splits):
    found = text_measures(*splits([3]))
    assert found["pairs"] == 1
    assert found["src/words_mean"] > 0
    for name in ("src/words_sd", "ref/rare_words", "targets_of_repeated_source", "monotonicity"):
        assert isinstance(found[name], Absent)


@pytest.mark.slow
def test_other_text_under_the_same_ids_is_refused(splits):
    table, _ = splits([0, 1])
    _, encoded = splits([0, 1])
    wrong = table.set_column(1, Column.SRC, pa.array(["x", "y"]))
    assert len(source_hashes(["x"])) == 1
    with pytest.raises(Exception, match="were made of another pair"):
        text_measures(wrong, encoded)
