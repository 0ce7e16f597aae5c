"""A corpus holds what its files hold, with counts of what was dropped and ids that never change."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from kdray.artifacts import Store
from kdray.config.text import CorpusConfig
from kdray.errors import DataError, InputError
from kdray.text import preparation as preparation_module
from kdray.text.cleaning import Drop
from kdray.text.corpus import DROPS, Corpus
from kdray.text.corpus_building import build_corpus, corpus_key, prove_unique
from kdray.text.judging import pair_id

TRAIN = [
    ("one house", "ein Haus"),
    ("two houses", "zwei Häuser"),
    ("one house", "ein Haus"),
    ("", "leer"),
    ("a dog", "ein Hund"),
    ("  the cat ", "\tdie Katze"),
    ("noise", "x\x07"),
    ("same", "same"),
]
DEV = [("a dog", "ein Hund"), ("a bird", "ein Vogel")]
TEST = [("The cat!", "Die Katze."), ("a fish", "ein Fisch"), ("a fish", "ein Fisch")]


def parse(raw):
    return TypeAdapter(CorpusConfig).validate_python(raw)


def write_sides(folder, name, pairs):
    folder.mkdir(exist_ok=True)
    for side, suffix in ((0, "en"), (1, "de")):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")


def write_corpus(folder, *, train=TRAIN, dev=DEV, test=TEST, prefix="", **options):
    for name, pairs in (("train", train), ("dev", dev), ("test", test)):
        write_sides(folder, f"{prefix}{name}", pairs)
    sources = {
        name: {"src": f"{prefix}{name}.en", "tgt": f"{prefix}{name}.de"}
        for name in ("train", "dev", "test")
    }
    return parse(
        {
            "kind": "files",
            "folder": str(folder),
            "src_lang": "en",
            "tgt_lang": "de",
            "train": {"format": "text", **sources["train"]},
            "dev": {"format": "text", **sources["dev"]},
            "tests": {"news.2020": {"format": "text", **sources["test"]}},
            **options,
        }
    )


def build(config, folder):
    folder.mkdir()
    return build_corpus(config, folder), Corpus(folder)


def pairs_of(table):
    return list(zip(table["src"].to_pylist(), table["ref"].to_pylist(), strict=True))


def ids_of(table):
    return dict(zip(table["pair_id"].to_pylist(), pairs_of(table), strict=True))


def test_kept_pairs_in_order_and_held_out_sets_whole(tmp_path):
    _, corpus = build(write_corpus(tmp_path / "in"), tmp_path / "out")
    kept = [("one house", "ein Haus"), ("two houses", "zwei Häuser"), ("the cat", "die Katze")]
    assert pairs_of(corpus.table("train")) == kept
    assert pairs_of(corpus.table("dev")) == DEV
    assert pairs_of(corpus.table("test-news.2020")) == TEST
    assert corpus.tests == ("news.2020",)
    assert corpus.table("train").schema.names == ["pair_id", "src", "ref"]
    assert str(corpus.table("train").schema.field("pair_id").type) == "int64"


def test_counts_tell_what_became_of_every_line(tmp_path):
    counts, _ = build(write_corpus(tmp_path / "in"), tmp_path / "out")
    assert counts["pairs"] == {"test-news.2020": 3, "dev": 2, "train": 3}
    assert counts["train_read"] == len(TRAIN)
    assert list(counts["drops"]) == list(Drop)
    assert {reason: n for reason, n in counts["drops"].items() if n} == {
        "empty": 1,
        "control": 1,
        "identical": 1,
        "overlap": 1,
        "duplicate": 1,
    }
    assert counts["pairs"]["train"] + sum(counts["drops"].values()) == counts["train_read"]
    assert counts["mean_words"]["dev"] == {"src": 2.0, "ref": 2.0}
    assert "true_entropy_per_word" not in counts


def test_overlap_is_measured_before_and_after_cleaning(tmp_path):
    counts, _ = build(write_corpus(tmp_path / "in"), tmp_path / "out")
    assert counts["overlap"]["dev"]["pair"] == 1
    assert counts["overlap_kept"]["dev"]["pair"] == 0
    assert counts["overlap"]["test-news.2020"]["pair"] == 0
    assert counts["overlap_kept"]["test-news.2020"]["pair_words"] == 1


def test_dropped_pairs_can_be_looked_at(tmp_path):
    build(write_corpus(tmp_path / "in"), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / DROPS).to_pylist()
    assert [(row["line"], row["reason"]) for row in rows] == [
        (3, "duplicate"),
        (4, "empty"),
        (5, "overlap"),
        (7, "control"),
        (8, "identical"),
    ]
    assert (rows[1]["src"], rows[1]["ref"]) == ("", "leer")


@pytest.mark.parametrize(("limit", "kept", "unread"), [(1, 1, 7), (2, 2, 6), (99, 3, 0)])
def test_max_train_pairs_keeps_the_first_clean_ones(tmp_path, limit, kept, unread):
    config = write_corpus(tmp_path / "in", max_train_pairs=limit)
    counts, corpus = build(config, tmp_path / "out")
    assert pairs_of(corpus.table("train")) == [TRAIN[0], TRAIN[1], ("the cat", "die Katze")][:kept]
    assert counts["train_unread"] == unread
    assert counts["train_read"] + unread == len(TRAIN)


def test_sides_of_unequal_length_are_found_behind_max_train_pairs(tmp_path):
    config = write_corpus(tmp_path / "in", max_train_pairs=1)
    with (tmp_path / "in" / "train.de").open("a") as file:
        file.write("one more\n")
    with pytest.raises(DataError, match=r"has 8 lines and .* has 9"):
        build(config, tmp_path / "out")


def test_ids_survive_other_cleaning_rules_and_another_order(tmp_path):
    first = ids_of(build(write_corpus(tmp_path / "a"), tmp_path / "a.out")[1].table("train"))
    loose = {"drop_duplicates": False, "drop_overlap": False, "drop_control": False}
    config = write_corpus(tmp_path / "b", train=TRAIN[::-1], cleaning=loose)
    second = ids_of(build(config, tmp_path / "b.out")[1].table("train"))
    assert len(second) == 6
    assert first.items() <= second.items()


def test_repeated_pairs_have_ids_of_their_own(tmp_path):
    _, corpus = build(write_corpus(tmp_path / "in"), tmp_path / "out")
    ids = corpus.table("test-news.2020")["pair_id"].to_pylist()
    fish = [pair_id("a fish", "ein Fisch", occurrence=n) for n in (0, 1)]
    assert ids[1:] == fish
    assert len(set(ids)) == 3


@given(src=st.text(st.characters(exclude_categories=["Cs"])), occurrence=st.integers(0, 9))
def test_id_is_63_bits_of_the_text_and_its_occurrence(src, occurrence):
    key = pair_id(src, "x", occurrence=occurrence)
    assert 0 <= key < 2**63
    assert key == pair_id(src, "x", occurrence=occurrence)
    assert key != pair_id(src, "x", occurrence=occurrence + 1)
    assert key != pair_id(src + "x", "", occurrence=occurrence)


def test_id_is_the_same_in_every_version():
    assert pair_id("one house", "ein Haus") == 1697286150543596151


def test_equal_ids_are_refused():
    prove_unique(np.array([5, 3, 9]), "train")
    with pytest.raises(DataError, match=r"train: the different pairs in rows 1, 4 .* pair_id 5"):
        prove_unique(np.array([5, 3, 9, 5]), "train")


def test_more_rows_than_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation_module, "ROW_GROUP", 4)
    train = [(f"source {n}", f"Ziel {n}") for n in range(10)]
    _, corpus = build(write_corpus(tmp_path / "in", train=train), tmp_path / "out")
    assert pairs_of(corpus.table("train")) == train
    assert pq.ParquetFile(tmp_path / "out" / "train.parquet").num_row_groups == 3


def test_same_data_elsewhere_under_other_names_is_the_same_corpus(tmp_path):
    key = corpus_key(write_corpus(tmp_path / "a"))
    assert corpus_key(write_corpus(tmp_path / "b", prefix="x-")).fingerprint == key.fingerprint
    of_licence = write_corpus(tmp_path / "c").model_copy(update={"licence": "CC0-1.0"})
    assert corpus_key(of_licence) == key
    assert set(key.inputs) == {f"{s}.{i}" for s in ("train", "dev", "test-news.2020") for i in "01"}


@pytest.mark.parametrize(
    "change",
    [
        {"train": TRAIN[::-1]},
        {"dev": DEV[::-1]},
        {"test": TEST[:1]},
        {"cleaning": {"max_words": 7}},
        {"max_train_pairs": 5},
    ],
)
def test_other_content_or_rules_are_another_corpus(tmp_path, change):
    same = corpus_key(write_corpus(tmp_path / "a"))
    assert corpus_key(write_corpus(tmp_path / "b", **change)).fingerprint != same.fingerprint


def test_reading_options_are_part_of_the_key(tmp_path):
    config = write_corpus(tmp_path)
    (tmp_path / "t.tsv").write_text("a\tb\tc\n")
    keys = set()
    for options in ({}, {"src_column": 2}, {"header": True}):
        source = {"format": "tsv", "path": "t.tsv", **options}
        keys.add(corpus_key(parse({**config.model_dump(), "train": source})).fingerprint)
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dev": [("a", "b"), (" ", "c")]}, r"dev \(.*dev\.en .*line 2: the source side is empty"),
        ({"test": [("a", "\u3000")]}, r"test-news\.2020 .*line 1: the target side is empty"),
        ({"dev": [("\u200b", "b")]}, r"line 1: the source side is empty but for '\\u200b'"),
        ({"test": [("a", "\ufeff\u2060")]}, r"line 1: the target side is empty but for"),
        ({"dev": []}, r"dev \(.*holds no pairs"),
        ({"train": []}, r"train \(.*kept 0 of 0 pairs .*name a source"),
        ({"train": [("", ""), ("a", "a")]}, "kept 0 of 2 pairs .dropped: empty 1, identical 1."),
    ],
)
def test_corpus_that_cannot_be_used(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        build(write_corpus(tmp_path / "in", **change), tmp_path / "out")


def test_line_numbers_count_a_header(tmp_path):
    config = write_corpus(tmp_path / "in")
    (tmp_path / "in" / "dev.tsv").write_text("en\tde\na\tb\n\tc\n")
    dev = {"format": "tsv", "path": "dev.tsv", "header": True}
    with pytest.raises(DataError, match="line 3: the source side is empty"):
        build(parse({**config.model_dump(), "dev": dev}), tmp_path / "out")


def test_unknown_split_names_the_known_ones(tmp_path):
    _, corpus = build(write_corpus(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(InputError, match=r"no split 'test-x'.*train, dev, test-news\.2020"):
        corpus.table("test-x")
    with pytest.raises(InputError, match="no split 'drops'"):
        corpus.table("drops")


def test_corpus_is_an_artifact_that_is_built_once(tmp_path):
    config, store = write_corpus(tmp_path / "in"), Store.open(tmp_path / "a=b")
    artifact = store.cached(corpus_key(config), lambda folder: build_corpus(config, folder))
    again = store.cached(corpus_key(config), lambda _: pytest.fail("built twice"))
    assert again.counts == artifact.counts
    assert Corpus(again.path).table("train").schema.names == ["pair_id", "src", "ref"]


GENERATED = {"kind": "generated", "train_pairs": 300, "dev_pairs": 40, "test_pairs": 30}


def test_generated_corpus_states_its_true_ambiguity(tmp_path):
    counts, corpus = build(parse(GENERATED), tmp_path / "out")
    assert counts["pairs"]["dev"] == 40
    assert counts["pairs"]["test-generated"] == 30
    assert counts["pairs"]["train"] + sum(counts["drops"].values()) == 300
    for split in ("train", "dev", "test-generated"):
        per_sentence = counts["true_entropy_per_sentence"][split]
        words = counts["mean_words"][split]["ref"]
        assert per_sentence > 0
        assert counts["true_entropy_per_word"][split] == pytest.approx(per_sentence / words)
    assert corpus.tests == ("generated",)


def test_generated_corpus_without_ambiguity_has_no_entropy(tmp_path):
    config = parse({**GENERATED, "grammar": {"ambiguity": 0}})
    counts, _ = build(config, tmp_path / "out")
    assert set(counts["true_entropy_per_sentence"].values()) == {0.0}


def test_generated_splits_share_no_source(tmp_path):
    _, corpus = build(parse(GENERATED), tmp_path / "out")
    sources = Counter()
    for split in ("train", "dev", "test-generated"):
        sources.update(set(corpus.table(split)["src"].to_pylist()))
    assert max(sources.values()) == 1


def test_generated_corpus_is_keyed_by_its_recipe():
    key = corpus_key(parse(GENERATED))
    assert not key.inputs
    assert key.fingerprint == corpus_key(parse(GENERATED)).fingerprint
    assert key.fingerprint != corpus_key(parse({**GENERATED, "seed": 2})).fingerprint
