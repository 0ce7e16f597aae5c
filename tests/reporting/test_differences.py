"""Which comparisons a report makes, and one correction over all of them."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tables import Worlds, difference, row, table

from kdray.reporting.along import Along, At, Change, ChangeOfPlaces, Pair
from kdray.reporting.analysis import analyse
from kdray.reporting.compare import choices, corrected, differences_of, with_next_runs
from kdray.reporting.difference import Difference, Finding
from kdray.scoring.result import Score
from kdray.scoring.segments import write_numbers
from kdray.statistics.multiplicity import holm

points = st.floats(-50, 50)
chances = st.none() | st.floats(0, 1)


@st.composite
def differences(draw, metrics=("bleu", "chrf")):
    value, width = draw(points), draw(st.none() | st.floats(0, 5))
    p = draw(chances)
    return Difference(
        group="tiny",
        method="a",
        other="b",
        metric=draw(st.sampled_from(metrics)),
        value=value,
        higher_is_better=draw(st.booleans()),
        low=None if width is None else value - width,
        high=None if width is None else value + width,
        p_uncorrected=p,
        p=p,
        p_of_models=draw(chances),
    )


@pytest.mark.slow
@given(differences())
def test_a_difference_told_of_the_other_side_is_its_mirror_image(each):
    turned = each.of("b")
    assert turned.of("a") == each
    assert (turned.method, turned.other, turned.value) == ("b", "a", -each.value)
    assert turned.finding is each.finding
    assert turned.half_width == each.half_width
    if each.low is not None:
        assert (turned.low, turned.high) == (-each.high, -each.low)
    if each.value:
        assert turned.is_better is not each.is_better


@pytest.mark.parametrize(
    ("p", "p_of_models", "finding"),
    [
        (0.02, None, Finding.SIGNIFICANT),
        (0.05, None, Finding.NOT_SIGNIFICANT),
        (0.5, 0.001, Finding.NOT_SIGNIFICANT),
        (None, 0.001, Finding.SEED_NOISE_UNKNOWN),
        (None, 0.3, Finding.UNTESTED),
        (None, None, Finding.UNTESTED),
    ],
)
def test_a_finding_needs_a_small_corrected_p(p, p_of_models, finding):
    for value in (1.0, -1.0):
        each = difference("a", "b", value, p=p, p_of_models=p_of_models)
        assert each.finding is finding
        assert each.is_finding is (finding is Finding.SIGNIFICANT)
        assert each.is_better is (value > 0)
        assert replace(each, higher_is_better=False).is_better is (value < 0)


names = st.lists(st.sampled_from(["ce", "a", "b", "c", "d"]), unique=True, min_size=1)


@pytest.mark.slow
@given(methods=names)
def test_every_two_are_compared_once_and_told_of_the_other_beside_the_baseline(methods):
    worlds = Worlds(num_segments=30, samples=20)
    samples = worlds.samples({name: float(place) for place, name in enumerate(methods)})
    found = list(differences_of(samples))
    pairs = [frozenset((each.method, each.other)) for each in found]
    wanted = {frozenset(pair) for pair in itertools.combinations(methods, 2)}
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == wanted
    shown = replace(samples.table, differences=tuple(found))
    for each in found:
        means = [samples.runs("tiny")[name].mean.observed for name in (each.method, each.other)]
        assert each.value == pytest.approx(means[0] - means[1])
        assert each.low <= each.value <= each.high
        turned = shown.difference("tiny", each.other, each.method)
        assert turned == each.of(each.other)
    assert all(each.other == "ce" for each in found if "ce" in (each.method, each.other))


def test_dev_has_intervals_and_no_p():
    samples = Worlds().samples({"ce": 1.0, "a": 2.0}, split="dev")
    (found,) = differences_of(samples)
    assert found.low < found.value < found.high
    assert (found.p_uncorrected, found.p, found.p_of_models) == (None, None, None)
    (alone,) = differences_of(Worlds().samples({"ce": 1.0, "a": 2.0}, seeds=[1]))
    assert (alone.low, alone.high, alone.p_uncorrected) == (None, None, None)
    assert alone.p_of_models < 0.001
    assert alone.finding is Finding.SEED_NOISE_UNKNOWN
    assert "seed noise is unknown" in alone.reason


@st.composite
def pairs(draw):
    change = draw(st.none() | st.builds(Change, points, points, points, points, st.floats(0, 1)))
    places = st.builds(
        ChangeOfPlaces,
        at=st.just((1.0,)),
        low=st.none(),
        high=st.none(),
        is_empty=st.booleans(),
        p_uncorrected=st.floats(0, 1),
        p_kept_uncorrected=st.floats(0, 1),
    )
    return Pair("a", "b", change=change, crossing=draw(st.none() | places))


def an_along(*pairs):
    places = (1.0, 2.0, 3.0)
    lines = {"a": tuple(At(place, 1.0, None, None) for place in places)}
    return Along("noise", "test-x", ("1", "2", "3"), places, False, (), lines, pairs)


@pytest.mark.slow
@given(
    st.lists(st.lists(differences(), max_size=4), min_size=1, max_size=3),
    st.lists(st.lists(pairs(), max_size=3), max_size=2),
)
def test_holm_runs_over_all_tests_of_the_report_by_metric(of_tables, of_axes):
    tables = [table("test-x", [], each) for each in of_tables]
    alongs = [an_along(*each) for each in of_axes]
    told, followed, num_tests = corrected(tables, alongs)
    before, after = {"bleu": [], "chrf": []}, {"bleu": [], "chrf": []}
    for old, new in zip(tables, told, strict=True):
        for one, other in zip(old.differences, new.differences, strict=True):
            before[one.metric].append(one.p_uncorrected)
            after[one.metric].append(other.p)
            assert other == replace(one, p=other.p)
    for old, new in zip(alongs, followed, strict=True):
        for one, other in zip(old.pairs, new.pairs, strict=True):
            for was, now in ((one.change, other.change), (one.crossing, other.crossing)):
                assert (was is None) == (now is None)
                if was is not None:
                    before["bleu"].append(was.p_uncorrected)
                    after["bleu"].append(now.p)
            if one.crossing is not None:
                before["bleu"].append(one.crossing.p_kept_uncorrected)
                after["bleu"].append(other.crossing.p_kept)
    for metric, p_values in before.items():
        tested = [p for p in p_values if p is not None]
        adjusted = iter(holm(tested))
        assert after[metric] == [None if p is None else next(adjusted) for p in p_values]
    assert num_tests == sum(p is not None for p in before["bleu"])


@pytest.mark.slow
def test_a_whole_report_is_one_family(study):
    """Sizes, beams, tests and an axis; dev is never in it, and other metrics are by themselves."""
    for split in ("dev", "test-news"):
        for length, gain in ((400, 0.0), (800, 0.05), (1600, 0.1)):
            for seed in (1, 2):
                study.run("ce", error=0.3, seed=seed, split=split, length=length)
                study.run("a", error=0.29 - gain, seed=seed, split=split, length=length)
                if split != "dev":
                    study.run("b", error=0.31, seed=seed, split=split, length=length)
    for seed in (1, 2):
        study.run("ce", error=0.3, seed=seed, split="test-news", length=400, beam=1)
        study.run("a", error=0.2, seed=seed, split="test-news", length=400, beam=1)
    study.run("teacher", error=0.1, role="teacher", split="test-news")
    analysis = analyse(study.results, study=study.facts(bootstrap_samples=100))
    told = [each for table in analysis.tables for each in table.differences]
    (along,) = analysis.alongs
    assert along.axis == "training updates"
    for metric in ("bleu", "chrf"):
        of_axis = [
            p
            for pair in along.pairs
            for p in (
                (pair.change.p_uncorrected, pair.change.p),
                (pair.crossing.p_uncorrected, pair.crossing.p),
                (pair.crossing.p_kept_uncorrected, pair.crossing.p_kept),
            )
        ]
        family = [(e.p_uncorrected, e.p) for e in told if e.metric == metric and e.p is not None]
        family += of_axis if metric == "bleu" else []
        before, after = zip(*family, strict=True)
        assert holm(before) == after
        if metric == "bleu":
            assert len(family) == analysis.num_tests
            assert len(of_axis) == 9
    of_dev = [each for table in analysis.tables if table.is_dev for each in table.differences]
    assert of_dev
    assert {each.p_uncorrected for each in of_dev} == {None}


def test_dev_chooses_the_highest_mean_and_the_baseline_where_all_are_equal():
    small = [row("ce", 5, size="small"), row("a", 6, size="small")]
    dev = table("dev", [row("ce", 20), row("a", 20), *small])
    test = table("test-x", [row("ce", 20), row("a", 30)])
    assert choices([dev, test]) == {"tiny": "ce", "small": "a"}
    assert choices([test]) == {}
    assert choices([dev, replace(dev, signatures={"bleu": "tok:char"})]) == {}


def test_what_it_would_take_is_said_only_of_rivals_that_the_chosen_is_not_told_from():
    samples = Worlds(2, sd=3.0).samples({"ce": 20.0, "a": 20.6, "b": 20.4, "c": 90.0})
    found = tuple(differences_of(samples))
    (shown,), _, num_tests = corrected([replace(samples.table, differences=found)], [])
    assert not shown.difference("tiny", "b", "ce").is_finding
    told = with_next_runs(shown, samples, chosen={"tiny": "a"}, num_tests=num_tests)
    asked = {frozenset((each.method, each.other)) for each in told.differences if each.what_next}
    assert asked == {frozenset("ab"), frozenset(("a", "ce"))}
    assert [replace(e, what_next="") for e in told.differences] == list(shown.differences)


@pytest.mark.slow
def test_a_metric_from_outside_has_a_family_of_its_own(study):
    gains = {"ce": 0.0, "good": 1.0, "same": 0.01}
    for place, (method, gain) in enumerate(gains.items()):
        for seed in (1, 2, 3):
            run = study.run(method, error=0.3, seed=seed, split="test-news")
            values = Worlds(10 * place + seed, num_segments=40).rng.normal(gain, 0.3, 40).tolist()
            path = study.folder / f"{method}-{seed}.txt.numbers"
            write_numbers(path, values)
            mean = sum(values) / len(values)
            run.scores["comet"] = Score(mean, "comet 1", segments_path=str(path))
    (shown,) = analyse(study.results, study=study.facts()).tables
    good, same = (shown.difference("tiny", name, "ce", "comet") for name in ("good", "same"))
    assert good.p == pytest.approx(3 * good.p_uncorrected)
    assert good.p < 0.05 < same.p
    assert not shown.difference("tiny", "good", "ce").is_finding, "findings are of BLEU"
