"""The verdict chooses on dev and claims no more than the tables mark as a finding."""

import re
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tables import ONE_SEED, difference, row, table

from kdray.condition import Condition
from kdray.reporting.compare import choices
from kdray.reporting.verdict import Certainty, verdict_of

DEV = table("dev", [row("ce", 20), row("a", 25), row("b", 23)])


def said(*tables, main_beam=5, group="tiny"):
    chosen = choices([each for each in tables if each.beam == main_beam])
    verdict = verdict_of(tables, group, chosen=chosen, main_beam=main_beam)
    return verdict, " ".join([verdict.headline, *verdict.sentences])


def on_test(*differences, split="test-x", rows=("ce", "a", "b"), **changes):
    """A test on which the methods have 20 BLEU, and these differences."""
    return table(split, [row(name, 20) for name in rows], differences, **changes)


def test_dev_chooses_even_when_test_would_have_chosen_otherwise():
    test = on_test(
        difference("a", "ce", 3), difference("b", "ce", 6), difference("a", "b", -3, p=0.4)
    )
    verdict, text = said(DEV, test)
    assert verdict.chosen == "a"
    assert verdict.certainty is Certainty.BEATS_BASELINE
    assert verdict.headline == "Take a: it beats ce on test-x, and is not told from b."
    assert "On dev, a is the best of 3 methods: 25.00 BLEU over 3 seeds." in text
    assert "it beats ce by 3.00 ± 1.00 BLEU (p 0.010)" in text
    assert "it is not told from b (−3.00 ± 1.00, p 0.400)" in text


def test_a_method_that_beats_every_other_on_all_tests_is_said_to():
    wins = difference("a", "ce", 3), difference("b", "a", -2)
    verdict, _ = said(DEV, on_test(*wins), on_test(*wins, split="test-y"))
    assert verdict.certainty is Certainty.BEATS_ALL
    assert verdict.headline == "Take a: it beats every other method on test-x and test-y."


def test_a_rival_that_a_test_lacks_is_not_said_to_be_beaten():
    wins = difference("a", "ce", 3), difference("b", "a", -2)
    verdict, _ = said(DEV, on_test(*wins), on_test(wins[0], split="test-y", rows=("ce", "a")))
    assert verdict.certainty is Certainty.BEATS_BASELINE
    assert verdict.headline.endswith("beats ce on test-x and test-y, and is not told from b.")


def test_nothing_is_claimed_when_all_is_noise():
    noise = [difference(*pair, 0.1, p=0.4) for pair in (("a", "ce"), ("b", "ce"), ("a", "b"))]
    verdict, text = said(DEV, on_test(*noise))
    assert verdict.headline == "No method is shown to beat the baseline ce; dev prefers a."
    assert verdict.certainty is Certainty.OPEN
    assert "it is not told from ce (+0.10 ± 1.00, p 0.400) and b" in text


def test_the_baseline_may_be_the_best():
    dev = table("dev", [row("ce", 20), row("a", 18)])
    lost = on_test(difference("a", "ce", -2), rows=("ce", "a"))
    assert said(dev, lost)[0].headline == "Take ce: it beats every other method on test-x."
    open_ = on_test(difference("a", "ce", -2, p=0.3), rows=("ce", "a"))
    told = "No method is shown to beat the baseline ce, which dev prefers."
    assert said(dev, open_)[0].headline == told


def test_a_baseline_that_dev_prefers_stays_chosen_where_test_prefers_another():
    dev = table("dev", [row("ce", 21), row("a", 20)])
    verdict, _ = said(dev, on_test(difference("a", "ce", 4), rows=("ce", "a")))
    assert verdict.chosen == "ce"
    assert verdict.headline == "Dev prefers ce, but it is worse than a on test-x."


def test_a_loss_on_one_test_is_said_before_gains_on_others():
    gain, loss = difference("a", "ce", 2), difference("a", "ce", -3)
    verdict, _ = said(DEV, on_test(gain), on_test(loss, split="test-y"))
    assert verdict.certainty is Certainty.WORSE
    assert verdict.headline == "Dev prefers a, but it is worse than ce on test-y."


def test_a_win_on_one_test_only_is_said_so():
    unclear = difference("a", "ce", 0.1, p=0.7)
    verdict, text = said(DEV, on_test(difference("a", "ce", 2)), on_test(unclear, split="test-y"))
    assert verdict.certainty is Certainty.PARTLY
    assert verdict.headline == "a is shown to beat ce on test-x only."
    assert "On test-y, a has 20.00 BLEU; it is not told from ce (+0.10 ± 1.00, p 0.700)" in text


def test_a_winner_that_dev_did_not_choose_is_a_candidate_not_a_choice():
    test = on_test(difference("a", "ce", 0.1, p=0.9), difference("b", "ce", 4))
    verdict, text = said(DEV, test)
    assert verdict.chosen == "a"
    assert verdict.headline == "Dev prefers a, which is not shown to beat ce."
    assert "On test, b did beat the baseline, but dev did not choose so: confirm it on new" in text


def test_one_seed_says_that_the_noise_of_seeds_is_unknown_and_a_loss_first():
    dev = table("dev", [row("ce", 20, **ONE_SEED), row("a", 25, **ONE_SEED)])
    gain, loss = (difference("a", "ce", v, p=None, p_of_models=0.001) for v in (5, -8))
    tests = on_test(gain, rows=("ce", "a")), on_test(loss, split="test-y", rows=("ce", "a"))
    verdict, text = said(dev, *tests)
    assert verdict.certainty is Certainty.UNTESTED
    assert verdict.headline == (
        "a looks worse than ce on test-y and better than ce on test-x, but with one seed the luck "
        "of the seed is not known."
    )
    assert "With one seed of every method the noise of seeds is unknown" in text
    assert "since with one seed its seed noise is unknown" in text
    turned, _ = said(table("dev", [row("ce", 30, **ONE_SEED), row("a", 2)]), tests[0])
    assert turned.headline.startswith("ce looks worse than a on test-x, but")


def test_methods_with_one_seed_among_others_are_named_and_three_have_no_warning():
    dev = table("dev", [row("ce", 20), row("a", 25), row("b", 19, **ONE_SEED)])
    assert "With one seed of b the noise of seeds is unknown" in said(dev)[1]
    assert "unknown" not in said(DEV)[1]


def test_rivals_that_dev_cannot_part_are_named():
    close, far = difference("a", "b", 0.4), difference("a", "ce", 5)
    _, text = said(replace(DEV, differences=(close, far)))
    assert "; b may be as good: 0 lies within the interval of the difference." in text


def test_what_dev_cannot_choose_is_not_chosen():
    test = on_test(difference("a", "ce", 5))
    verdict, _ = said(test)
    assert (verdict.chosen, verdict.certainty) == (None, Certainty.UNTESTED)
    assert verdict.headline == "No method is chosen: the dev scores are missing."
    two = said(DEV, replace(DEV, signatures={"bleu": "tok:char", "chrf": "nc:6"}), test)[0]
    assert two.chosen is None
    assert "carry different signatures" in two.headline


def test_without_tests_nothing_is_confirmed():
    verdict, _ = said(DEV)
    assert verdict.headline == "Dev prefers a; there are no test scores that could confirm it."
    assert verdict.certainty is Certainty.UNTESTED


def test_a_method_alone_is_compared_with_nothing():
    verdict, text = said(table("dev", [row("ce", 20)]), on_test(rows=("ce",)))
    assert verdict.headline == "There is only ce: nothing to compare it with."
    assert "On dev, ce is the only method: " in text
    assert "On test-x, ce has 20.00 BLEU." in text


def test_a_choice_that_could_not_be_tested_or_was_not_scored_is_said_so():
    verdict, _ = said(DEV, on_test(difference("a", "ce", 5, p=None)))
    assert verdict.headline == "Dev prefers a; it could not be tested."
    _, text = said(DEV, on_test(rows=("ce", "b")))
    assert "On test-x, a was not scored." in text


def test_only_the_main_beam_chooses():
    other = table("dev", [row("ce", 30), row("a", 25), row("b", 1)], beam=1)
    assert said(DEV, other, main_beam=5)[0].chosen == "a"
    assert said(DEV, other, main_beam=1)[0].chosen == "ce"


@pytest.mark.parametrize("condition", [Condition.of_beam(1), Condition.of_prefix(0.5)])
def test_other_conditions_have_a_sentence_each(condition):
    found = difference("a", "ce", -2), difference("a", "b", 2), difference("b", "ce", -4)
    other = on_test(*found, condition=condition)
    _, text = said(DEV, on_test(difference("a", "ce", 5)), other)
    told = f"Under {condition.title} on test-x, a has 20.00 BLEU; it beats b; it is worse than ce."
    assert told in text


def test_each_size_has_its_own_verdict():
    dev = table("dev", [*DEV.rows, row("ce", 30, size="small"), row("a", 29, size="small")])
    chosen = [said(dev, group=group)[0] for group in ("tiny", "small")]
    assert [(v.size, v.scenario, v.chosen) for v in chosen] == [
        ("tiny", "tiny", "a"),
        ("small", "small", "ce"),
    ]


def test_the_place_in_the_grid_is_named():
    verdict, _ = said(replace(DEV, point=(("noise", "0.1"),)))
    assert verdict.scenario == "noise 0.1, tiny"


def test_the_choice_stands_beside_the_teacher():
    teacher = row(
        "teacher", 25, role="teacher", size="base", num_params=10_000_000, tokens_per_second=1000.0
    )
    test = on_test(difference("a", "ce", 4))
    _, text = said(DEV, replace(test, rows=(teacher, *test.rows)))
    assert "80% of the BLEU on test-x with 10% of the parameters, and decodes 5.0× as fast" in text


def test_other_metrics_say_whether_they_agree():
    """One of errors agrees when it falls."""
    test = on_test(
        difference("a", "ce", 2, agreement="about 70 %"),
        difference("a", "ce", -0.4, metric="chrf"),
        difference("ce", "a", -0.0123, metric="comet"),
        difference("a", "ce", -0.5, metric="errors", higher_is_better=False, p=0.2),
        signatures=dict.fromkeys(("bleu", "chrf", "comet", "errors"), ""),
    )
    _, text = said(DEV, test)
    assert (
        "it beats ce by 2.00 ± 1.00 BLEU (p 0.010; about 70 % of judges would agree; chrF does not "
        "agree (-0.4); comet agrees; errors leans the same way)"
    ) in text


def test_where_the_evidence_is_thin_the_next_runs_are_said():
    unclear = difference("b", "a", -0.5, p=0.3, what_next="it would be found with 7 seeds")
    verdict, _ = said(DEV, on_test(difference("a", "ce", 2), unclear))
    assert verdict.next_runs == ("To tell a from b on test-x: it would be found with 7 seeds.",)


# No sentence claims what is not a finding, and none about the choice is kept back.

METHODS = ("ce", "m1", "m2", "m3")


@st.composite
def studies(draw):
    """A dev that chooses, two tests and another beam on one of them, with random differences."""
    bleu = st.floats(1, 60)
    dev = table("dev", [row(name, draw(bleu)) for name in METHODS])
    tests = []
    for split, beam in (("test-x", 5), ("test-y", 5), ("test-x", 1)):
        there = draw(st.lists(st.sampled_from(METHODS), unique=True, min_size=1))
        told = []
        for pair in combinations(sorted(there), 2):
            method, other = draw(st.permutations(pair))
            if draw(st.integers(0, 5)):
                p = draw(st.sampled_from([None, 0.0, 0.001, 0.04, 0.05, 0.3, 1.0]))
                value = draw(st.floats(0.01, 9)) * draw(st.sampled_from([1, -1]))
                of_models = draw(st.sampled_from([None, 0.01])) if p is None else None
                told.append(difference(method, other, value, p=p, p_of_models=of_models))
        tests.append(table(split, [row(name, draw(bleu)) for name in there], told, beam=beam))
    return [dev, *tests]


def findings_of(tables):
    """(better, worse, split, beam) of all findings."""
    return {
        (*((e.method, e.other) if e.value > 0 else (e.other, e.method)), each.split, each.beam)
        for each in tables
        for e in each.differences
        if e.p is not None and e.p < 0.05
    }


def claims_of(sentence, chosen):
    """(better, worse, split, beam) of all that a sentence claims; split None: on any."""
    text = re.sub(r"\([^()]*\)", "", sentence)
    beam = 1 if text.startswith("Under beam 1") else 5
    claims = set()
    if found := re.match(r"On test, (.*) did beat the baseline", text):
        return {(name, "ce", None, beam) for name in re.findall(r"ce|m\d", found[1])}
    for clause in re.split(r"; |, and is not told", re.sub(r"not shown to beat \w+", "", text)):
        if "No method is shown" in clause:
            continue
        splits = re.findall(r"test-\w", clause) or re.findall(r"test-\w", text)
        if found := re.search(r"\bbeats? (.*)", clause):
            beaten = found[1].split(" on ")[0]
            every = [name for name in METHODS if name != chosen]
            names = every if "every other" in beaten else re.findall(r"\bce\b|m\d", beaten)
            claims |= {(chosen, name, split, beam) for name in names for split in splits}
        if found := re.search(r"worse than (.*)", clause):
            places = re.findall(r"(ce|m\d) on (test-\w)", found[1])
            places = places or [(n, s) for n in re.findall(r"\bce\b|m\d", found[1]) for s in splits]
            claims |= {(name, chosen, split, beam) for name, split in places}
    return claims


@pytest.mark.slow
@given(studies())
def test_what_is_claimed_is_a_finding_and_findings_about_the_choice_are_told(tables):
    verdict, _ = said(*tables)
    findings, claims = findings_of(tables), set()
    for sentence in (verdict.headline, *verdict.sentences):
        if "but with one seed the luck" in sentence:
            assert verdict.certainty is Certainty.UNTESTED
            continue
        claims |= claims_of(sentence, verdict.chosen)
    for better, worse, split, beam in claims:
        splits = ["test-x", "test-y"] if split is None else [split]
        assert {(better, worse, each, beam) for each in splits} & findings, (better, worse, split)
    of_choice = {each for each in findings if verdict.chosen in each[:2]}
    assert of_choice <= claims


@pytest.mark.slow
@given(studies())
def test_without_findings_nothing_is_better_or_worse(tables):
    def quiet(each):
        return replace(each, p=None if each.p is None else max(each.p, 0.05), p_of_models=None)

    tables = [replace(t, differences=tuple(map(quiet, t.differences))) for t in tables]
    verdict, text = said(*tables)
    assert verdict.certainty in (Certainty.OPEN, Certainty.BASELINE, Certainty.UNTESTED)
    assert not re.search(r"\bbeats\b|did beat|worse|better|ahead", text)
