"""The laws of noise: what is damaged depends on the pair alone, and grows with the rate."""

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.artifacts import Key
from kdray.config.text import NoiseConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Column
from kdray.text import noise as noise_module
from kdray.text.corpus import Corpus
from kdray.text.damage import Damage, Operation, damage_of, noisy
from kdray.text.noise import build_noise, noise_key

NAMES = ("delete", "replace", "swap")
SUBSETS = [names for size in (1, 2, 3) for names in combinations(NAMES, size)]
REPLACEMENTS = [f"new{n}" for n in range(50)]

subsets = st.sampled_from(SUBSETS)
rates = st.floats(0, 1)
pair_ids = st.integers(0, 2**63 - 1)
lengths = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def laid_down(operations, ids, lengths, **options) -> Damage:
    config = NoiseConfig(rate=1, operations=operations, **options)
    return damage_of(config, Column.SRC, np.array(ids), np.array(lengths))


def damaged(operations, ids, lengths, rate):
    """Texts of distinct words, at a rate, as lists of words."""
    clean = [" ".join(f"{row}-{n}" for n in range(length)) for row, length in enumerate(lengths)]
    words, damage = [text.split() for text in clean], laid_down(operations, ids, lengths)
    return [text.split() for text in noisy(clean, words, damage, rate, REPLACEMENTS)]


def traces(words, row, length):
    """What a damaged text shows of its damage: words that are gone, pairs that changed places."""
    at = {word: place for place, word in enumerate(words) if not word.startswith("new")}
    old = [f"{row}-{n}" for n in range(length)]
    gone = set(old) - at.keys()
    kept = [word for word in old if word in at]
    moved = {(one, other) for one, other in combinations(kept, 2) if at[one] > at[other]}
    return gone, moved


@pytest.mark.slow
@given(subsets, st.lists(pair_ids, min_size=8, max_size=8), lengths, rates, rates)
def test_a_higher_rate_has_the_damage_of_a_lower_one(operations, ids, lengths, one, other):
    ids = ids[: len(lengths)]
    low, high = sorted((one, other))
    less, more = (damaged(operations, ids, lengths, rate) for rate in (low, high))
    for row, length in enumerate(lengths):
        (gone, moved), (gone_too, moved_too) = (
            traces(words[row], row, length) for words in (less, more)
        )
        assert gone <= gone_too
        assert moved <= moved_too
        new, new_too = (Counter(w for w in words[row] if "new" in w) for words in (less, more))
        assert new <= new_too


@pytest.mark.slow
@given(subsets, st.lists(pair_ids, min_size=8, max_size=8), lengths)
def test_at_rate_1_every_word_is_damaged_but_what_has_to_stay(operations, ids, lengths):
    words = damaged(operations, ids[: len(lengths)], lengths, 1)
    for row, length in enumerate(lengths):
        gone, moved = traces(words[row], row, length)
        untouched = length - len(gone | {word for pair in moved for word in pair})
        assert words[row], "no side becomes empty"
        assert untouched == (len(words[row]) == 1 and "replace" not in operations)


@pytest.mark.slow
@given(subsets, st.lists(pair_ids, min_size=8, max_size=8), lengths)
def test_rate_0_changes_nothing(operations, ids, lengths):
    damage = laid_down(operations, ids[: len(lengths)], lengths)
    words = [["word"] * length for length in lengths]
    texts = ["  ".join(of_text) for of_text in words]
    assert list(noisy(texts, words, damage, 0.0, REPLACEMENTS)) == texts


@pytest.mark.slow
@given(subsets, st.lists(pair_ids, min_size=8, max_size=8), lengths)
def test_words_that_change_places_are_neighbours_and_damaged_together(operations, ids, lengths):
    found = laid_down(operations, ids[: len(lengths)], lengths)
    begins = np.cumsum(lengths) - lengths
    follows = np.flatnonzero(found.operations == Operation.SWAP)
    assert not np.isin(follows, begins).any()
    assert (found.above[follows] == found.above[follows - 1]).all()
    assert np.isin(found.operations[follows - 1], [Operation.SWAP_FIRST, Operation.SWAP]).all()
    first = np.flatnonzero((found.operations == Operation.SWAP_FIRST) & np.isfinite(found.above))
    assert (found.operations[first + 1] == Operation.SWAP).all()


@pytest.mark.slow
@given(subsets, st.lists(pair_ids, min_size=8, max_size=8, unique=True), lengths, st.randoms())
def test_other_pairs_and_their_order_change_nothing(operations, ids, lengths, rng):
    ids = ids[: len(lengths)]
    rows = rng.sample(range(len(lengths)), rng.randint(1, len(lengths)))
    whole = laid_down(operations, ids, lengths)
    some = laid_down(operations, [ids[row] for row in rows], [lengths[row] for row in rows])
    begins = np.cumsum(lengths) - lengths
    places = np.concatenate([begins[row] + np.arange(lengths[row]) for row in rows])
    for name in ("operations", "above", "draws"):
        assert (getattr(some, name) == getattr(whole, name)[places]).all()


@pytest.mark.parametrize("operations", SUBSETS, ids="-".join)
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_rate_is_met_in_equal_shares_of_the_operations(operations, rate):
    found = laid_down(operations, range(4000), [25] * 4000)
    hit = found.above < rate
    counts = np.bincount(found.operations[hit], minlength=4)
    counts[Operation.SWAP] += counts[Operation.SWAP_FIRST]
    assert hit.mean() == pytest.approx(rate, rel=0.03)
    for name in operations:
        share = counts[Operation[name.upper()]] / counts[[0, 1, 3]].sum()
        assert share == pytest.approx(1 / len(operations), rel=0.08), name


@pytest.mark.parametrize("change", [{"seed": 2}, {"side": Column.REF}, {"ids": 1}])
def test_seed_side_and_pair_give_other_numbers(change):
    ids = np.arange(1000) + change.get("ids", 0)
    side, config = change.get("side", Column.SRC), NoiseConfig(seed=change.get("seed", 1))
    other = damage_of(config, side, ids, np.full(1000, 10))
    one = laid_down(NAMES, range(1000), [10] * 1000)
    assert abs(np.corrcoef(one.above, other.above)[0, 1]) < 0.05
    assert abs(np.corrcoef(one.above, one.draws)[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.1, None),
        (0.3, "one two  four three five six seven eight nine ten"),
        (0.5, "one new44  four three six five new21 eight nine new25"),
        (0.8, "new44  four three six five new21 eight nine new25"),
        (1.0, "new44  four three six five new21 nine eight new25"),
    ],
)
def test_damage_is_the_same_in_every_version(rate, expected):
    text, damage = "one two  three four five six seven eight nine ten", laid_down(NAMES, [7], [10])
    (new,) = noisy([text], [text.split()], damage, rate, REPLACEMENTS)
    assert new == (expected or text)


def corpus(folder, pairs, *, ids=None):
    """A corpus of such training pairs, with one pair in dev and in a test."""
    folder.mkdir()
    for split, rows in {"train": pairs, "dev": [("d", "D")], "test-t": [("t", "T")]}.items():
        src, ref = zip(*rows, strict=True)
        numbers = ids if split == "train" and ids is not None else range(len(rows))
        table = {Column.PAIR_ID: list(numbers), Column.SRC: list(src), Column.REF: list(ref)}
        pq.write_table(pa.table(table), folder / f"{split}.parquet")
    return folder


def build(config, clean, folder):
    folder.mkdir()
    counts = build_noise(NoiseConfig(**config), clean, folder)
    return counts, Corpus(folder)


PAIRS = [
    (" ".join(f"s{n % 17}" for n in range(row, row + row % 9 + 1)),
     " ".join(f"t{n % 19}" for n in range(row, row + row % 7 + 1)))
    for row in range(300)
]  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("noise") / "clean", PAIRS)


@pytest.mark.parametrize(("side", "changed"), [("source", {"src"}), ("target", {"ref"}),
                                              ("both", {"src", "ref"})])  # fmt: skip
def test_only_the_training_text_of_the_sides_is_damaged(clean, tmp_path, side, changed):
    counts, made = build({"rate": 0.3, "side": side}, clean, tmp_path / "out")
    before, after = Corpus(clean).table("train"), made.table("train")
    assert {name for name in after.column_names if after[name] != before[name]} == changed
    assert after[Column.PAIR_ID] == before[Column.PAIR_ID]
    for name in ("dev.parquet", "test-t.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (clean / name).read_bytes()
    assert counts["words"].keys() == counts["damaged"].keys() == changed
    for of_side in changed:
        words = sum(len(text.split()) for text in before[of_side].to_pylist())
        assert counts["words"][of_side] == words
        hit = sum(counts["damaged"][of_side].values())
        assert counts["realised_rate"][of_side] == hit / words == pytest.approx(0.3, abs=0.05)
    alone = sum(a == b for a, b in zip(before.to_pylist(), after.to_pylist(), strict=True))
    assert counts["pairs_left_alone"] == alone
    (note,) = counts[NOTES]
    assert f"{alone} of 300 training pairs are as they were" in note


@pytest.mark.slow
def test_batches_and_the_order_of_pairs_change_nothing(clean, tmp_path, monkeypatch):
    config = {"rate": 0.4}
    whole, made = build(config, clean, tmp_path / "whole")
    monkeypatch.setattr(noise_module, "ROWS_AT_A_TIME", 7)
    assert build(config, clean, tmp_path / "parts")[1].table("train") == made.table("train")
    order = np.random.default_rng(1).permutation(len(PAIRS)).tolist()
    mixed = corpus(tmp_path / "mixed", [PAIRS[row] for row in order], ids=order)
    counts, shuffled = build(config, mixed, tmp_path / "out")
    assert counts == whole
    assert shuffled.table("train") == made.table("train").take(order)


def test_replacements_are_drawn_as_the_text_has_them_and_are_other_words(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_module, "SAMPLE", 2000)
    pairs = [("a " * 8 + "b b c", "d e")] * 800
    config = {"rate": 1, "operations": ["replace"], "side": "source"}
    _, made = build(config, corpus(tmp_path / "in", pairs), tmp_path / "out")
    rows = [text.split() for text in made.table("train")[Column.SRC].to_pylist()]
    found = [Counter(row[place] for row in rows) for place in (0, 8, 10)]
    for counts, word, share in zip(found, "abc", (2 / 3, 8 / 9, 8 / 10), strict=True):
        assert word not in counts
        assert max(counts.values()) / 800 == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sample_of_the_words_is_of_fixed_size_and_the_same_in_any_order(monkeypatch, seed):
    monkeypatch.setattr(noise_module, "SAMPLE", 20)
    words = [f"w{n}" for n in range(500)]
    hashes = np.random.default_rng(seed).integers(2**63, size=500).astype(np.uint64)
    samples = []
    for order in (np.arange(500), np.random.default_rng(3).permutation(500)):
        sample = noise_module._Sample()
        for part in np.array_split(order, 11):
            sample.add(hashes[part], [words[place] for place in part])
        samples.append(sample.words())
    assert samples[0] == samples[1] == [words[place] for place in np.argsort(hashes)[:20]]


def test_text_of_one_word_has_nothing_to_replace_it(tmp_path):
    clean = corpus(tmp_path / "in", [("a b", "x x"), ("b", "x")])
    with pytest.raises(DataError, match=r"target side .* no second word.*leave replace out"):
        build({"rate": 0.1}, clean, tmp_path / "out")
    build({"rate": 0.1, "side": "source"}, clean, tmp_path / "source")
    build({"rate": 0.1, "operations": ["delete", "swap"]}, clean, tmp_path / "others")


def test_spaces_and_scripts_without_them_stay_as_they_are(tmp_path):
    pairs = [(f"我们  爱 New{n} York。", "a\u3000b") for n in range(200)]
    config = {"rate": 0.3, "operations": ["delete"]}
    _, made = build(config, corpus(tmp_path / "in", pairs), tmp_path / "out")
    table = made.table("train")
    assert set(table[Column.REF].to_pylist()) == {"a\u3000b", "a", "b"}
    for (src, _), text in zip(pairs, table[Column.SRC].to_pylist(), strict=True):
        characters = iter(src)
        assert all(character in characters for character in text), text
        assert text == text.strip()


def test_who_learns_it_and_the_order_of_operations_make_no_other_noise():
    key = Key("corpus", 1, {})
    same = [
        NoiseConfig(rate=0.1),
        NoiseConfig(rate=0.1, operations=NAMES[::-1], teacher_learns="noisy"),
    ]
    assert len({noise_key(config, key).fingerprint for config in same}) == 1
    others = [{"rate": 0.2}, {"operations": ["swap"]}, {"side": "source"}, {"seed": 2}]
    configs = [NoiseConfig(**{"rate": 0.1, **other}) for other in others]
    keys = {noise_key(config, key).fingerprint for config in (*same, *configs)}
    assert len(keys) == 1 + len(others)


def test_the_damage_of_all_rates_is_one_chain(clean, tmp_path):
    made = [
        build({"rate": rate}, clean, tmp_path / f"{rate}")[0]["damaged"]
        for rate in (0.1, 0.2, 0.4, 0.8, 1)
    ]
    for less, more in pairwise(made):
        for side in ("src", "ref"):
            assert all(less[side][name] <= more[side][name] for name in NAMES)
            assert sum(less[side].values()) < sum(more[side].values())
