"""What noise on the training text changes in a plan, and what all rates share."""

import pytest
import yaml
from micro_study import CONFIG

from kdray.artifacts import Key
from kdray.config.experiment import Experiment
from kdray.plan.experiment import Plan, make_plan
from kdray.plan.step import STUDENT, TEACHER

METHODS = {
    "plain": {"kind": "cross_entropy"},
    "sentence": {"kind": "sentence_level"},
    "hybrid": {"kind": "hybrid", "gate": {"kind": "sentence"}},
    "closest": {"kind": "interpolation", "n": 2},
}
SHARED = ("corpus", "tokenizer", "round trip")
SIDES = ("source", "target", "both")
ON_REFS, ON_HYPS = "topk on reference", "topk on hypothesis"


def plan(*, recipe=None, **noise) -> Plan:
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"] |= {"methods": METHODS, "signals": {"hypotheses": {"beam": 2, "num_hyps": 2}}}
    raw["recipe"] |= recipe or {}
    raw["recipe"]["corpus"] = {**raw["recipe"]["corpus"], "noise": noise}
    return make_plan(Experiment.model_validate(raw), all_signals=True)


def keys(made: Plan) -> dict[str, Key]:
    return {f"{step.stage}: {step.name}": step.key for step in made.steps}


def same(one: Plan, other: Plan) -> set[str]:
    """Names of the steps that two plans have in common."""
    first, second = keys(one), keys(other)
    return {name.partition(": ")[2] for name, key in first.items() if second.get(name) == key}


def two_teachers(weights):
    teacher = yaml.safe_load(CONFIG)["recipe"]["teacher"]
    members = [teacher, {**teacher, "seed": 2}]
    return {"kind": "ensemble", "members": members, "weights": weights}


@pytest.mark.parametrize("knobs", [{}, {"side": "target", "seed": 3}, {"operations": ["swap"]}])
def test_a_rate_of_0_is_no_noise_whatever_else_is_said(knobs):
    assert keys(plan(rate=0, **knobs)) == keys(plan())
    assert not any(step.key.stage == "noise" for step in plan().steps)


@pytest.mark.parametrize("learns", ["clean", "noisy"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("weights", ["uniform", "perplexity"])
def test_whatever_is_read_is_made_before(side, learns, weights):
    teacher = two_teachers(weights)
    made = plan(recipe={"teacher": teacher}, rate=0.1, side=side, teacher_learns=learns)
    known: set[str] = set()
    for step in made.steps:
        assert {key.fingerprint for key in step.reads} <= known, step.name
        known.add(step.key.fingerprint)
    assert len(known) == len(keys(made)) == len(made.steps), "nothing stands there twice"


@pytest.mark.parametrize("side", SIDES)
def test_rates_share_the_clean_text_the_tokenizer_and_a_teacher_that_learns_it(side):
    one, other, none = (plan(rate=rate, side=side) for rate in (0.1, 0.2, 0))
    for shared in (same(one, other), same(one, none)):
        assert {*SHARED, *(step.name for step in one.of(TEACHER))} <= shared
        assert "teacher" in shared, "its scores too: dev and tests are clean"
        assert not shared & {step.name for step in one.of(STUDENT)}
        assert not shared & {"noise", "ids of train and dev", ON_REFS}


@pytest.mark.parametrize("side", SIDES)
def test_translations_are_shared_where_the_sources_are_clean(side):
    shared = same(plan(rate=0.1, side=side), plan(rate=0.2, side=side))
    assert ({"hypotheses", ON_HYPS} <= shared) == (side == "target")
    assert ON_REFS not in shared
    assert not any(name.startswith("interpolation") for name in shared), "it reads references"


@pytest.mark.parametrize("side", SIDES)
def test_a_teacher_that_learns_the_noise_shares_nothing_that_it_makes(side):
    one, other = (plan(rate=rate, side=side, teacher_learns="noisy") for rate in (0.1, 0.2))
    assert same(one, other) == set(SHARED)
    (teacher,) = one.of(TEACHER)
    assert teacher.job.encoded == one.only.text.learned.encoded
    assert not any(step.name.endswith("clean") for step in one.steps)


def test_an_ensemble_that_weighs_by_references_translates_anew_for_each_rate():
    teachers = [two_teachers(weights) for weights in ("uniform", "perplexity")]
    shares = [
        "hypotheses" in same(*(plan(recipe={"teacher": teacher}, rate=rate, side="target")
                               for rate in (0.1, 0.2)))
        for teacher in teachers
    ]  # fmt: skip
    assert shares == [True, False]


def test_the_teacher_learns_clean_pairs_and_reads_noisy_ones():
    text = plan(rate=0.1).only.text
    assert text.taught == text.clean != text.learned == text.translated
    assert text.learned.corpus.inputs == {"corpus": text.clean.corpus.fingerprint}
