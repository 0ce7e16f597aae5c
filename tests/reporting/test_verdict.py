"""The verdict chooses on dev and claims no more than the tables mark as a finding."""

from dataclasses import replace

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.reporting.difference import Change, Difference, Spread
from kdray.reporting.table import Row, Table
from kdray.reporting.verdict import verdicts


def against(bleu, *, p=0.01, sd=0.2, chrf=None):
    return Difference(
        bleu=bleu,
        chrf=bleu / 2 if chrf is None else chrf,
        sd=sd,
        seeds=(1, 2, 3),
        ci_low=bleu - 1,
        ci_high=bleu + 1,
        p_uncorrected=p,
        p=p,
    )


def row(method, bleu, difference=None, *, sd=0.1, seeds=(1, 2, 3), **changes):
    cell = Cell(method, changes.pop("size", "tiny"), seeds[0], role=changes.pop("role", "student"))
    made = Row(
        cell=cell,
        kind=method,
        seeds=seeds,
        is_baseline=method == "ce",
        scores={"bleu": Spread(bleu, sd), "chrf": Spread(bleu + 20, sd)},
        difference=difference,
        num_params=1_000_000,
        target_tokens=1e6,
        train_seconds=10.0,
        tokens_per_second=5000.0,
        sentences_per_second=200.0,
    )
    return replace(made, **changes)


def table(split, *rows, beam=5, signature="tok:13a"):
    return Table(
        point=(),
        split=split,
        condition=Condition.of_beam(beam),
        signatures={"bleu": signature, "chrf": "nc:6"},
        baseline="ce",
        bootstrap_samples=1000,
        num_segments=100,
        rows=rows,
        notes=(),
    )


def said(*tables, main_beam=5):
    (verdict,) = verdicts(tables, main_beam=main_beam)
    return verdict, " ".join([verdict.headline, *verdict.sentences])


def test_dev_chooses_even_when_test_would_have_chosen_otherwise():
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 25, against(5)), row("b", 23, against(3))),
        table("test-x", row("ce", 20), row("a", 23, against(3)), row("b", 26, against(6))),
    )
    assert verdict.chosen == "a"
    assert verdict.headline == "Take a: it beats ce beyond noise on test-x."
    assert "best of 3 methods: 25.00 BLEU over 3 seeds, +5.00 to ce" in text
    assert "On test-x, a has 23.00 BLEU, +3.00 to ce (p = 0.010, beyond seed noise" in text


def test_no_method_beats_the_baseline_when_all_is_noise():
    noise = against(0.1, p=0.4)
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 20.1, noise)),
        table("test-x", row("ce", 20), row("a", 20.1, noise)),
    )
    assert verdict.headline == "No method beats the baseline ce beyond noise."
    assert "within noise" in text


def test_a_small_p_within_seed_noise_is_noise():
    verdict, _ = said(
        table("dev", row("ce", 20), row("a", 21, against(1, p=0.001))),
        table("test-x", row("ce", 20), row("a", 21, against(1, p=0.001, sd=1.5))),
    )
    assert verdict.headline == "No method beats the baseline ce beyond noise."


def test_the_baseline_may_be_the_best():
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 18, against(-2))),
        table("test-x", row("ce", 20), row("a", 18, against(-2))),
    )
    assert verdict.chosen == "ce"
    assert verdict.headline == "No method beats the baseline ce beyond noise."
    assert "it is the baseline itself" in text


def test_one_seed_says_that_seed_noise_is_unknown():
    lone = {"sd": None, "seeds": (1,)}
    verdict, text = said(
        table("dev", row("ce", 20, **lone), row("a", 25, against(5, sd=None), **lone)),
        table("test-x", row("ce", 20, **lone), row("a", 25, against(5, sd=None), **lone)),
    )
    assert verdict.headline == "Beside ce, a looks better on test-x, but the seed noise is unknown."
    assert "With one seed of every method the seed noise is unknown" in text
    assert "finding" not in text


def test_with_one_seed_a_loss_on_a_test_set_is_said_before_a_gain():
    lone = {"sd": None, "seeds": (1,)}

    def beside(split, bleu):
        return table(
            split, row("ce", 20, **lone), row("a", bleu, against(bleu - 20, sd=None), **lone)
        )

    verdict, _ = said(beside("dev", 25), beside("test-x", 25), beside("test-y", 12))
    assert verdict.headline == (
        "Beside ce, a looks worse on test-y and better on test-x, but the seed noise is unknown."
    )


def test_a_baseline_that_dev_prefers_stays_chosen_where_test_prefers_another():
    verdict, text = said(
        table("dev", row("ce", 21), row("a", 20, against(-1, p=0.3))),
        table("test-x", row("ce", 20), row("a", 24, against(4))),
    )
    assert verdict.chosen == "ce"
    assert verdict.headline == "Dev prefers the baseline ce itself."
    assert "a did beat the baseline beyond noise, but dev did not choose so" in text


def test_a_method_with_one_seed_among_others_is_named():
    _, text = said(
        table("dev", row("ce", 20), row("a", 25, against(5)), row("b", 19, sd=None, seeds=(1,)))
    )
    assert "With one seed of b the seed noise is unknown" in text


def test_three_seeds_have_no_warning():
    _, text = said(table("dev", row("ce", 20), row("a", 25, against(5))))
    assert "unknown" not in text


def test_a_choice_that_test_refutes_is_said_to_be_worse():
    verdict, _ = said(
        table("dev", row("ce", 20), row("a", 22, against(2))),
        table("test-x", row("ce", 20), row("a", 22, against(2))),
        table("test-y", row("ce", 20), row("a", 17, against(-3))),
    )
    assert verdict.headline == "Dev prefers a, but it is worse than ce on test-y."


def test_a_win_on_one_test_set_only_is_said_so():
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 22, against(2))),
        table("test-x", row("ce", 20), row("a", 22, against(2))),
        table("test-y", row("ce", 20), row("a", 20.1, against(0.1, p=0.7))),
    )
    assert verdict.headline == "a beats ce beyond noise on test-x only."
    assert "On test-y, a has 20.10 BLEU, +0.10 to ce (p = 0.700, within noise)" in text


def test_a_winner_that_dev_did_not_choose_is_a_candidate_not_a_choice():
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 22, against(2)), row("b", 21, against(1))),
        table("test-x", row("ce", 20), row("a", 20, against(0.1, p=0.9)), row("b", 24, against(4))),
    )
    assert verdict.chosen == "a"
    assert verdict.headline == "Dev prefers a, which does not beat ce beyond noise."
    assert "b did beat the baseline beyond noise, but dev did not choose so" in text


def test_rivals_within_seed_noise_are_named():
    dev = table(
        "dev",
        row("ce", 20),
        row("a", 25.0, against(5), sd=0.3),
        row("b", 24.8, against(4.8), sd=0.3),
        row("c", 24.0, against(4), sd=0.3),
    )
    _, text = said(dev)
    assert "On dev, b is within seed noise of it" in text


def test_without_test_scores_nothing_is_confirmed():
    verdict, _ = said(table("dev", row("ce", 20), row("a", 25, against(5))))
    assert verdict.headline == "Dev prefers a; there are no test scores that could confirm it."


def test_without_dev_scores_nothing_is_chosen():
    verdict, _ = said(table("test-x", row("ce", 20), row("a", 25, against(5))))
    assert verdict.chosen is None
    assert verdict.headline == "No method is chosen: the dev scores are missing."


def test_dev_scores_of_two_signatures_do_not_choose():
    verdict, _ = said(table("dev", row("ce", 20)), table("dev", row("a", 90), signature="tok:char"))
    assert verdict.chosen is None
    assert "different signatures" in verdict.headline


def test_only_the_main_beam_speaks():
    tables = (
        table("dev", row("ce", 20), row("a", 25, against(5)), beam=5),
        table("dev", row("ce", 30), row("a", 25, against(-5)), beam=1),
    )
    assert said(*tables, main_beam=5)[0].chosen == "a"
    assert said(*tables, main_beam=1)[0].chosen == "ce"


def test_each_size_has_its_own_verdict():
    dev = table(
        "dev",
        row("ce", 20),
        row("a", 25, against(5)),
        row("ce", 30, size="small"),
        row("a", 29, against(-1), size="small"),
    )
    assert [(v.size, v.chosen) for v in verdicts([dev], main_beam=5)] == [
        ("tiny", "a"),
        ("small", "ce"),
    ]


def test_a_method_alone_is_compared_with_nothing():
    verdict, text = said(table("dev", row("ce", 20)), table("test-x", row("ce", 20)))
    assert verdict.headline == "There is only ce: nothing to compare it with."
    assert "On test-x, ce has 20.00 BLEU" in text


def test_a_choice_that_could_not_be_tested_is_not_called_noise():
    verdict, text = said(
        table("dev", row("ce", 20), row("a", 25)), table("test-x", row("ce", 20), row("a", 25))
    )
    assert verdict.headline == "Dev prefers a; it could not be tested against ce."
    assert "cannot be compared with ce" in text


def test_a_choice_that_test_lacks_is_said_so():
    _, text = said(
        table("dev", row("ce", 20), row("a", 25, against(5))), table("test-x", row("ce", 20))
    )
    assert "On test-x, a was not scored." in text


def test_chrf_that_disagrees_is_said_so():
    _, text = said(
        table("dev", row("ce", 20), row("a", 25, against(5))),
        table("test-x", row("ce", 20), row("a", 25, against(5, chrf=-0.4))),
    )
    assert "chrF does not agree (−0.40)" in text


def test_the_choice_stands_beside_the_teacher():
    teacher = row(
        "teacher", 30, role="teacher", size="base", num_params=10_000_000, tokens_per_second=1000.0
    )
    _, text = said(
        table("dev", teacher, row("ce", 20), row("a", 25, against(5))),
        table("test-x", teacher, row("ce", 20), row("a", 24, against(4))),
    )
    assert "80% of the BLEU on test-x with 10% of the parameters, and decodes 5.0× as fast" in text


def test_no_tables_no_verdict():
    assert verdicts([], main_beam=5) == []


def test_metrics_from_outside_say_whether_they_agree():
    """One of errors agrees when it falls."""
    others = {
        "comet": Change(0.0123, higher_is_better=True, p_uncorrected=0.01, p=0.02),
        "errors": Change(0.5, higher_is_better=False, p_uncorrected=None),
    }
    difference = replace(against(2), others=others)
    _, text = said(
        table("dev", row("ce", 20), row("a", 22, against(2))),
        table("test-x", row("ce", 20), row("a", 22, difference)),
    )
    assert "comet agrees (+0.0123, p 0.020)" in text
    assert "errors does not agree (+0.5, p –)" in text
