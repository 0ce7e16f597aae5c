"""Several studies in one report, from what was measured of each."""

from dataclasses import replace

import pytest

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.errors import ConfigError
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.runner.reporting import Measured
from kdray.runner.several import joined
from kdray.scoring.result import Result, Score

NOISE = {"path": "corpus.noise.rate", "values": [0, 0.1]}


def measured(name, *, axes=None, methods=("ce",), **changes):
    axes = axes or {}
    points = [(("noise", label),) for label in ("0", "0.1")] if "noise" in axes else [()]
    texts = {"test-x": SplitText(["a b"], ["c d"])}
    facts = StudyFacts(
        name=name,
        recipe={"axes": axes, "methods": {method: {"kind": method} for method in methods}},
        corpus={"pairs": 1},
        fingerprints={"corpus": "1"},
        versions={},
        baseline="ce",
        main_beam=4,
        budget="at equal updates",
        bootstrap_samples=100,
        scenarios={point: ScenarioFacts(texts, "13a") for point in points},
        axes={axis: {"0": 0.0, "0.1": 0.1} if "path" in of else None for axis, of in axes.items()},
        notes=["a note"],
    )
    results = [
        Result(
            cell=Cell(method, "nano", 1, point=point), kind=method, split="test-x",
            condition=Condition.of_beam(4), scores={"bleu": Score(1.0, "tok:13a")},
            num_params=1, target_tokens=1, updates=1, train_seconds=1.0,
            decode_tokens_per_second=None, decode_sentences_per_second=None,
            fingerprint=f"{name}-{method}", hyps_path=None,
        )
        for point in points
        for method in methods
    ]  # fmt: skip
    curves = {result.cell: [{"step": 1.0}] for result in results}
    return Measured(replace(facts, **changes), results, curves, ())


def trained_as(part, other, *, only=None):
    """A study whose models are those of another one, or of some of its methods."""
    known = {result.cell: result.fingerprint for result in other.results}
    results = [
        replace(result, fingerprint=known[result.cell])
        if result.cell in known and only in (None, result.cell.method)
        else result
        for result in part.results
    ]
    return replace(part, results=results)


def test_each_study_stands_at_its_own_place():
    both = joined([measured("one", axes={"noise": NOISE}), measured("two", axes={"noise": NOISE})])
    points = [
        (("study", study), ("noise", label)) for study in ("one", "two") for label in ("0", "0.1")
    ]
    assert list(both.facts.scenarios) == points
    assert [result.cell.point for result in both.results] == points
    assert list(both.curves) == [result.cell for result in both.results]
    assert both.facts.axes == {"study": None, "noise": {"0": 0.0, "0.1": 0.1}}
    assert both.facts.notes == ["one: a note", "two: a note"]
    assert both.costs is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (measured("one"), "called 'one'"),
        (measured("two", baseline="kd"), "recipe.baseline is ce in one, kd in two"),
        (measured("two", main_beam=1), "the beam of the verdict is 4 in one, 1 in two"),
        (measured("two", budget="at equal time"), "the budget of students"),
        (measured("two", axes={"study": NOISE}), "an axis called study"),
        (measured("two", axes={"noise": {"points": {"0": {}, "0.1": {}}}}), "of points in two"),
        (measured("two", axes={"noise": {**NOISE, "path": "x.y"}}), r"of x\.y in two"),
    ],
)
def test_studies_that_cannot_be_compared_are_refused(other, words):
    with pytest.raises(ConfigError, match=words):
        joined([measured("one", axes={"noise": NOISE}), other])


def test_a_method_that_is_another_one_elsewhere_is_noted():
    other = measured("two")
    recipe = {**other.facts.recipe, "methods": {"ce": {"kind": "other"}}}
    both = joined([measured("one"), replace(other, facts=replace(other.facts, recipe=recipe))])
    assert "ce is not the same in one and two" in both.facts.notes[-1]


def test_the_same_models_under_another_name_are_refused():
    one = measured("one", axes={"noise": NOISE}, methods=("ce", "kd"))
    again = trained_as(measured("two", axes={"noise": NOISE}, methods=("ce", "kd")), one)
    words = r"one and two hold the same trained models of ce and kd \(noise 0, nano\) on test-x"
    with pytest.raises(ConfigError, match=words):
        joined([one, again])
    more = trained_as(measured("three", axes={"noise": NOISE}, methods=("ce", "kd", "x")), one)
    with pytest.raises(ConfigError, match="one and three hold the same"):
        joined([one, measured("two", axes={"noise": NOISE}), more])
    alone = trained_as(measured("alone", axes={"noise": NOISE}), one)
    with pytest.raises(ConfigError, match="the same trained models of ce "):
        joined([one, alone])


def test_a_point_in_common_is_refused_also_where_a_method_is_the_same_at_all_points():
    one = measured("one", axes={"noise": NOISE}, methods=("ce", "kd"))
    shared = [
        replace(result, fingerprint="one-ce") if result.cell.method == "ce" else
        replace(result, fingerprint=f"kd at {result.cell.point}")
        for result in one.results
    ]  # fmt: skip
    one = replace(one, results=shared)
    other = measured("two", axes={"noise": NOISE}, methods=("ce", "kd", "x"))
    at_0 = [
        replace(result, fingerprint=each.fingerprint)
        if (each := next((r for r in shared if r.cell == result.cell), None))
        and result.cell.point == (("noise", "0"),)
        else result
        for result in other.results
    ]
    with pytest.raises(ConfigError, match=r"of ce and kd \(noise 0, nano\)"):
        joined([one, replace(other, results=at_0)])


def test_a_baseline_that_was_trained_once_may_stand_in_both():
    one = measured("one", methods=("ce", "kd"))
    both = joined([one, trained_as(measured("two", methods=("ce", "kd")), one, only="ce")])
    assert [result.fingerprint for result in both.results] == [
        *("one-ce", "one-kd"),
        *("one-ce", "two-kd"),
    ]
