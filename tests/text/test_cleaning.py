"""Each cleaning rule drops what it names and nothing else, and every drop has one reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.text import CleaningConfig
from kdray.text.cleaning import Cleaner, Drop, HeldOut, pair_digest, stripped

PERMISSIVE = {
    "max_words": 10**6,
    "max_chars": 10**6,
    "max_ratio": 1e6,
    "drop_identical": False,
    "drop_duplicates": False,
    "drop_control": False,
    "drop_overlap": False,
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def judge(src, ref, **rules):
    return Cleaner(CleaningConfig(**{**PERMISSIVE, **rules})).judge(src, ref)


@given(src=TEXT, ref=TEXT)
def test_without_rules_only_empty_sides_are_dropped(src, ref):
    assert judge(src, ref) is None
    assert judge(src, "") == judge("", ref) == judge("", "") == Drop.EMPTY


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("rules", "kept", "dropped", "reason"),
    [
        ({"max_words": 3}, ("a", "a b  c"), ("a", "a b c d"), Drop.TOO_LONG),
        ({"max_chars": 4}, ("a", "abcd"), ("a", "abcde"), Drop.TOO_LONG),
        (
            {"max_ratio": 2.0, "ratio_slack": 8},
            ("abcd", "x" * 8),
            ("abcd", "x" * 9),
            Drop.RATIO,
        ),
        ({"max_ratio": 2.0, "ratio_slack": 8}, ("a", "x" * 7), ("a", "x" * 8), Drop.RATIO),
        ({"drop_identical": True}, ("a", "A"), ("a", "a"), Drop.IDENTICAL),
        ({"drop_control": True}, ("a\tb", "a\u2028b"), ("a", "b\x07"), Drop.CONTROL),
    ],
)
def test_each_rule_at_its_edge(rules, kept, dropped, reason, swap):
    order = -1 if swap else 1
    assert judge(*kept[::order], **rules) is None
    assert judge(*dropped[::order], **rules) == reason
    assert judge(*dropped[::order]) is None  # the rule did it


@pytest.mark.parametrize("code", [0x00, 0x08, 0x0A, 0x0D, 0x1F, 0x7F, 0x80, 0x85, 0x9F, 0xFFFD])
def test_control_characters_and_the_replacement_character(code):
    assert judge("a", f"b{chr(code)}c", drop_control=True) == Drop.CONTROL


@pytest.mark.parametrize("code", [0x09, 0x20, 0x7E, 0xA0, 0xAD, 0x200B, 0x2028, 0xFFFC])
def test_characters_that_only_look_like_control(code):
    assert judge("a", f"b{chr(code)}c", drop_control=True) is None


@given(pairs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abc")), max_size=20))
def test_only_the_first_of_equal_pairs_is_kept(pairs):
    cleaner = Cleaner(CleaningConfig(**{**PERMISSIVE, "drop_duplicates": True}))
    kept = [pair for pair in pairs if cleaner.judge(*pair) is None]
    assert kept == list(dict.fromkeys(pairs))


def test_pairs_that_meet_elsewhere_are_not_duplicates():
    assert pair_digest("ab", "c", size=16) != pair_digest("a", "bc", size=16)
    assert pair_digest("a", "b", size=16) != pair_digest("b", "a", size=16)
    assert pair_digest("a", "b", size=16) != pair_digest("a", "b", size=16, occurrence=1)


def test_overlap_needs_both_sides():
    held_out = HeldOut({"dev": [("a", "x")], "test-t": [("b", "y")]})
    cleaner = Cleaner(CleaningConfig(**{**PERMISSIVE, "drop_overlap": True}), held_out=held_out)
    assert cleaner.judge("a", "x") == Drop.OVERLAP
    assert cleaner.judge("b", "y") == Drop.OVERLAP
    assert cleaner.judge("a", "new") is None
    assert cleaner.judge("new", "x") is None
    allowed = Cleaner(CleaningConfig(**PERMISSIVE), held_out=held_out)
    assert allowed.judge("a", "x") is None


def test_one_reason_for_each_drop():
    cleaner = Cleaner(CleaningConfig(max_words=2, ratio_slack=0, max_ratio=1.5))
    pairs = [
        ("", "a b c"),
        ("a b c\x00", "d e"),
        ("a b c", "d"),
        ("aa", "a"),
        ("a", "a"),
        ("a", "b"),
    ]
    reasons = [cleaner.judge(*pair) for pair in [*pairs, pairs[-1]]]
    assert reasons == [
        Drop.EMPTY,
        Drop.CONTROL,
        Drop.TOO_LONG,
        Drop.RATIO,
        Drop.IDENTICAL,
        None,
        Drop.DUPLICATE,
    ]


@given(src=TEXT, ref=TEXT, left=st.text(" \t\u00a0\u3000", max_size=3))
def test_stripping_removes_surrounding_white_space_alone(src, ref, left):
    clean_src, clean_ref = stripped((left + src, ref + left))
    assert clean_src in src
    assert clean_ref in ref
    assert (src.split(), ref.split()) == (clean_src.split(), clean_ref.split())
    assert stripped((clean_src, clean_ref)) == (clean_src, clean_ref)


DEV = [("The house.", "Das Haus."), ("the house", "das  Haus!"), ("Dogs", "Hunde"), ("...", "?!")]


def overlap(*train):
    held_out = HeldOut({"dev": DEV})
    for src, ref in train:
        held_out.observe(src, ref, kept=False)
    return held_out.overlap(kept=False)["dev"]


def counts(pair=0, src=0, tgt=0, pair_words=0, src_words=0, tgt_words=0):
    return {
        "pair": pair,
        "src": src,
        "tgt": tgt,
        "pair_words": pair_words,
        "src_words": src_words,
        "tgt_words": tgt_words,
    }


def test_overlap_counts_held_out_pairs_not_training_pairs():
    assert overlap() == counts()
    one = counts(pair=1, src=1, tgt=1, pair_words=2, src_words=2, tgt_words=2)
    assert overlap(DEV[0]) == overlap(DEV[0], DEV[0]) == one


def test_overlap_of_sides_from_different_pairs_is_no_pair():
    assert overlap(("Dogs", "x"), ("x", "Hunde")) == counts(src=1, tgt=1, src_words=1, tgt_words=1)


def test_overlap_ignores_case_and_punctuation_in_words_alone():
    assert overlap(("DOGS!", "(hunde)")) == counts(pair_words=1, src_words=1, tgt_words=1)
    assert overlap(("---", "---")) == counts()  # no words: compared as it stands


def test_overlap_keeps_the_marks_of_scripts_that_write_vowels_with_them():
    held_out = HeldOut({"dev": [("की", "x")]})
    held_out.observe("का", "y", kept=True)
    assert held_out.overlap(kept=False)["dev"]["src_words"] == 0


def test_overlap_of_what_was_kept_is_counted_apart():
    held_out = HeldOut({"dev": DEV})
    held_out.observe(*DEV[2], kept=True)
    held_out.observe(*DEV[0], kept=False)
    assert held_out.overlap(kept=True)["dev"]["pair"] == 1
    assert held_out.overlap(kept=False)["dev"]["pair"] == 2
