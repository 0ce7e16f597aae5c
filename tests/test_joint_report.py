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
