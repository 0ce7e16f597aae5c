"""Each cleaning rule drops what it names and nothing else, and every drop has one reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.text import CleaningConfig
from kdray.text.cleaning import Drop, HeldOut, costs, pair_digest, stripped
from kdray.text.compared import compared
from kdray.text.duplicates import Seen
from kdray.text.judging import Block, judge
from kdray.text.settling import settle

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
SEEN = TEXT.filter(compared)


def settled(pairs, held_out=None, **rules):
    config = CleaningConfig(**rules)
    judged = judge(Block(pairs, 0), config, held_out or HeldOut({}))
    ranks = Seen().ranks(judged.digests)
    return settle(judged, ranks, drops_repeats=config.drop_duplicates, room=None)


def reasons(pairs, held_out=None, **rules):
    """Why each pair is dropped; None for those that are kept."""
    dropped = settled(pairs, held_out, **rules).dropped.to_pylist()
    by_row = {row["line"]: Drop(row["reason"]) for row in dropped}
    return [by_row.get(row) for row in range(len(pairs))]


def reason(src, ref, held_out=None, **rules):
    return reasons([(src, ref)], held_out, **{**PERMISSIVE, **rules})[0]


@pytest.mark.slow
@given(src=SEEN, ref=SEEN)
def test_without_rules_only_empty_sides_are_dropped(src, ref):
    assert reason(src, ref) is None
    assert reason(src, "") == reason("", ref) == reason("", "") == Drop.EMPTY


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("rules", "kept", "dropped", "why"),
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
def test_each_rule_at_its_edge(rules, kept, dropped, why, swap):
    order = -1 if swap else 1
    assert reason(*kept[::order], **rules) is None
    assert reason(*dropped[::order], **rules) == why
    assert reason(*dropped[::order]) is None  # the rule did it


@pytest.mark.parametrize("code", [0x00, 0x08, 0x0A, 0x0D, 0x1F, 0x7F, 0x80, 0x85, 0x9F, 0xFFFD])
def test_control_characters_and_the_replacement_character(code):
    assert reason("a", f"b{chr(code)}c", drop_control=True) == Drop.CONTROL


@pytest.mark.parametrize("code", [0x09, 0x20, 0x7E, 0xA0, 0xAD, 0x200B, 0x2028, 0xFFFC])
def test_characters_that_only_look_like_control(code):
    assert reason("a", f"b{chr(code)}c", drop_control=True) is None


@pytest.mark.slow
@given(pairs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abc")), max_size=20))
def test_only_the_first_of_equal_pairs_is_kept(pairs):
    of_all = reasons(pairs, **{**PERMISSIVE, "drop_duplicates": True})
    kept = [pair for pair, why in zip(pairs, of_all, strict=True) if why is None]
    assert kept == list(dict.fromkeys(pairs))


def test_pairs_that_meet_elsewhere_are_not_duplicates():
    assert pair_digest("ab", "c", size=16) != pair_digest("a", "bc", size=16)
    assert pair_digest("a", "b", size=16) != pair_digest("b", "a", size=16)
    assert pair_digest("a", "b", size=16) != pair_digest("a", "b", size=16, occurrence=1)


def test_overlap_needs_both_sides():
    held_out = HeldOut({"dev": [("a", "x")], "test-t": [("b", "y")]})
    assert reason("a", "x", held_out, drop_overlap=True) == Drop.OVERLAP
    assert reason("b", "y", held_out, drop_overlap=True) == Drop.OVERLAP
    assert reason("a", "new", held_out, drop_overlap=True) is None
    assert reason("new", "x", held_out, drop_overlap=True) is None
    assert reason("a", "x", held_out) is None


def test_one_reason_for_each_drop():
    pairs = [
        ("", "a b c"),
        ("a b c\x00", "d e"),
        ("a b c", "d"),
        ("aa", "a"),
        ("a", "a"),
        ("a", "b"),
    ]
    rules = {"max_words": 2, "ratio_slack": 0, "max_ratio": 1.5}
    assert reasons([*pairs, pairs[-1]], **rules) == [
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


SAME = [  # as models see them
    pytest.param("é", "e\u0301", id="composed and decomposed"),
    pytest.param("각", "\u1100\u1161\u11a8", id="Hangul as one syllable and as jamo"),
    pytest.param("ab 1", "ａｂ １", id="full width"),
    pytest.param("a b", "a\u00a0b", id="no-break space"),
    pytest.param("a b", "a \u3000 b", id="several spaces"),
    pytest.param("a b", "a\u200bb", id="zero-width space"),
    pytest.param("ab", "a\u2060b\ufe0f", id="word joiner and a selector"),
    pytest.param("ab", "a\u00adb", id="soft hyphen"),
    pytest.param("ab", "ab\ufeff", id="byte order mark"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_models_cannot_tell_apart_is_overlap_duplicate_and_identical(one, other):
    held_out = HeldOut({"dev": [(one, f"x {one}")]})
    rules = {**PERMISSIVE, "drop_overlap": True, "drop_duplicates": True, "drop_identical": True}
    pairs = [(other, f"x {other}"), (one, f"y {other}"), (other, f"y {one}"), (one, other)]
    whys = [Drop.OVERLAP, None, Drop.DUPLICATE, Drop.IDENTICAL]
    assert reasons(pairs, held_out, **rules) == whys
    held_out.observe(other, f"x {other}", kept=True)
    counted = held_out.overlap(kept=True)["dev"]
    assert (counted["pair"], counted["src"], counted["tgt"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "text", ["\u200b", "\ufeff", "\u00ad", "\u2060 \u200d", "\u3164", "\ufffd", "\u2581"]
)
def test_text_that_nobody_sees_is_empty(text):
    assert reason(text, "a") == reason("a", text) == Drop.EMPTY


def test_the_quick_way_to_the_compared_form_agrees_with_sentencepiece(monkeypatch):
    from kdray.text import compared as module

    characters = [chr(code) for code in range(0x3400) if not 0xD800 <= code < 0xE000]
    texts = [f"x{character}y" for character in characters]
    quick = [module.compared(text) for text in texts]
    monkeypatch.setattr(module.unicodedata, "is_normalized", lambda form, text: False)
    assert quick == [module.compared(text) for text in texts]


# Lines of the Universal Declaration of Human Rights and of common phrase books.
TRANSLATIONS = [
    ("Everyone has the right to freedom of peaceful assembly and association.",
     "人人有权享有和平集会和结社的自由。"),
    ("No one shall be subjected to torture or to cruel, inhuman or degrading treatment or "
     "punishment.", "任何人不得加以酷刑，或施以残忍的、不人道的或侮辱性的待遇或刑罚。"),
    ("Everyone has the right to recognition everywhere as a person before the law.",
     "人人在任何地方有权被承认在法律前的人格。"),
    ("Motherhood and childhood are entitled to special care and assistance.",
     "母亲和儿童有权享受特别照顾和协助。"),
    ("Everyone is entitled to all the rights and freedoms set forth in this Declaration.",
     "人人有资格享有本宣言所载的一切权利和自由。"),
    ("Everyone has the right to leave any country, including his own, and to return to his "
     "country.", "人人有权离开任何国家，包括其本国在内，并有权返回他的国家。"),
    ("Everyone has the right to life, liberty and security of person.",
     "すべて人は、生命、自由及び身体の安全に対する権利を有する。"),
    ("All human beings are born free and equal in dignity and rights.",
     "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."),
]  # fmt: skip


@pytest.mark.parametrize("pair", TRANSLATIONS)
def test_translations_between_alphabets_and_characters_pass_the_ratio(pair):
    assert reason(*pair, max_ratio=2.0, ratio_slack=0) is None
    assert reason(pair[0] * 3, pair[1], max_ratio=2.0, ratio_slack=0) == Drop.RATIO
    assert reason(pair[0], pair[1] * 3, max_ratio=2.0, ratio_slack=0) == Drop.RATIO


def test_what_length_rules_drop_is_counted_by_script_and_told():
    pairs = [("12", "34")]
    for number in range(100):
        once = "人人有享受休息的权利"
        pairs.append(("Everyone has the right to rest.", once * (1 + (number < 10))))
        pairs.append(("the old house", "дом" if number == 0 else "старый дом там"))
    rules = {"max_ratio": 1.5, "ratio_slack": 0, "drop_duplicates": False}
    by_script = settled(pairs, **rules).tally.by_script
    assert by_script["Latin-Han"] == {"read": 100, "ratio": 10}
    assert by_script["Latin-Cyrillic"] == {"read": 100, "ratio": 1}
    assert by_script["none-none"] == {"read": 1}
    (told,) = costs(by_script)
    for part in ("10.0% of the Latin-Han pairs as ratio (10 of 100)", "max_ratio"):
        assert part in told


class Everything:
    def __contains__(self, letters):
        return True


WORD_TEXT = st.text(st.sampled_from("aA1.,„“ \u0301äÄßİ中"), max_size=6)


@given(dev=st.lists(st.tuples(WORD_TEXT, WORD_TEXT), max_size=3), src=WORD_TEXT, ref=WORD_TEXT)
def test_the_quick_way_past_the_overlap_misses_nothing(dev, src, ref):
    quick, slow = HeldOut({"dev": dev}), HeldOut({"dev": dev})
    slow._letters = (Everything(), Everything())
    pair = compared(src), compared(ref)
    assert quick.matches(*pair) == slow.matches(*pair)


def test_a_test_that_shares_much_with_dev_is_told():
    dev = [(f"s{n}", f"t{n}") for n in range(20)]
    tests = {"test-same": dev, "test-apart": [("s", "t")] * 9 + [dev[0]]}
    (note,) = HeldOut({"dev": dev, **tests}).seen_by_choice()
    assert note.startswith("test-same: 20 of 20 pairs are in dev too, by which models are chosen")
