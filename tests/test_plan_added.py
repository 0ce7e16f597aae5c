"""What weights of sources and text in one language change in a plan, and what is refused."""

import pytest
import yaml
from micro_study import CONFIG
from pydantic import ValidationError

from kdray.config.experiment import Experiment
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT, TEACHER

MONO = {"web": {"kind": "decoded", "path": "a.src"}}


def experiment(folder, *, texts=None, weights=None, **recipe):
    for name in ("a.src", "a.tgt"):
        (folder / name).write_text("one\ntwo\n")
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    sides = {"src": "a.src", "tgt": "a.tgt"}
    raw["recipe"]["corpus"] = {
        "kind": "files", "folder": str(folder), "src_lang": "src", "tgt_lang": "tgt",
        "train": sides, "dev": sides, "tests": {"t": sides}, "monolingual": texts or {},
    }  # fmt: skip
    raw["recipe"] |= recipe
    raw["recipe"]["students"]["training"]["source_weights"] = weights or {}
    return Experiment.model_validate(raw)


def plan(folder, **options):
    return make_plan(experiment(folder, **options), all_signals=True)


def differing(one, other):
    """Stages of the steps that two plans have not in common."""
    there = {step.key.fingerprint for step in one.steps}
    return {step.stage for step in other.steps if step.key.fingerprint not in there}


def test_weights_of_students_change_students_alone(tmp_path):
    plain = plan(tmp_path)
    changed = differing(plain, plan(tmp_path, weights={"parallel": 2}))
    assert STUDENT in changed
    assert not changed & {"corpus", "tokenizer", "encoded", "signals", TEACHER}
    assert not differing(plain, plan(tmp_path, weights={}))


def test_added_text_leaves_tokenizer_teacher_and_measures_as_they_are(tmp_path):
    plain, added = plan(tmp_path), plan(tmp_path, texts=MONO)
    changed = differing(plain, added)
    assert changed >= {"corpus", "encoded", "signals", STUDENT}
    assert not changed & {"tokenizer", TEACHER, "complexity", "teacher_complexity"}


def test_whatever_is_read_is_made_before(tmp_path):
    noise = {"rate": 0.1, "side": "source"}
    made = experiment(tmp_path, texts=MONO)
    corpus = {**made.recipe.corpus.model_dump(), "noise": noise}
    for plans in (plan(tmp_path, texts=MONO), plan(tmp_path, corpus=corpus)):
        known: set[str] = set()
        for step in plans.steps:
            assert {key.fingerprint for key in step.reads} <= known, step.name
            known.add(step.key.fingerprint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"web": 2}}, r"names web, which is no source of corpus; there are parallel"),
        ({"weights": {"parallel": 0}}, "all source_weights are 0"),
        ({"weights": {"parallel": -1}}, "greater than or equal to 0"),
    ],
)
def test_weights_that_cannot_be(tmp_path, options, message):
    with pytest.raises(ValidationError, match=message):
        experiment(tmp_path, **options)


def test_an_ensemble_that_weighs_by_references_needs_them(tmp_path):
    member = yaml.safe_load(CONFIG)["recipe"]["teacher"]
    teacher = {
        "kind": "ensemble",
        "weights": "perplexity",
        "members": [member, {**member, "seed": 2}],
    }
    with pytest.raises(ValidationError, match="no references; weigh uniformly"):
        experiment(tmp_path, texts=MONO, teacher=teacher)


OTHERS = {
    "web": {"kind": "decoded", "path": "a.src"},
    "back": {"kind": "back_translated", "path": "a.tgt", "model": "unused"},
}
SCORER = {"kind": "scorer", "scorer": {"kind": "command", "command": ["x"], "signature": "x"}}
NEAREST = {"kind": "interpolation", "n": 2}
CHOICES = {
    "a method": {"methods": {"near": NEAREST}},
    "a stage": {"methods": {"near": {"kind": "stages", "stages": [
        {"method": {"kind": "sentence_level"}, "updates": 20},
        {"method": NEAREST, "updates": 20}]}}},
    "a score": {"scores": {"near": {"kind": "reference"}}},
    "a scorer": {"scores": {"near": SCORER}},
}  # fmt: skip
WITHOUT = {
    "risk": {"scores": {"near": {"kind": "risk"}}},
    "quality": {"scores": {"near": {**SCORER, "reads_references": False}}},
}


def choosing(folder, texts, *, methods=None, scores=None):
    found = {"methods": methods} if methods else {}
    signals = {"hypotheses": {"num_hyps": 4}, "scores": scores or {}}
    return experiment(folder, texts=texts, signals=signals, **found)


@pytest.mark.parametrize("choice", CHOICES)
def test_text_without_references_is_not_chosen_from_by_them(tmp_path, choice):
    with pytest.raises(ValidationError, match=r"near.* compares .*decoded text web of corpus"):
        choosing(tmp_path, OTHERS, **CHOICES[choice])
    choosing(tmp_path, {"back": OTHERS["back"]}, **CHOICES[choice])
    choosing(tmp_path, {}, **CHOICES[choice])


@pytest.mark.parametrize("choice", WITHOUT)
def test_choices_that_read_no_references_go_with_any_text(tmp_path, choice):
    choosing(tmp_path, OTHERS, **WITHOUT[choice])
