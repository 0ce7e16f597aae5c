"""What a report notes of the training of its models: once each, however many models there are."""

from types import SimpleNamespace

import pytest

from kdray.cell import TEACHER, Cell
from kdray.plan.step import STUDENT
from kdray.runner.facts import _corpus, _training_notes, averaging_note


def model(name, method, **counts):
    dev = {"plain": {"bleu": 20.0}, "averaged": {"bleu": 21.5}}
    made = {"stopped_early": False, "averaging": "last", "dev": dev, "left_out": {}, **counts}
    return SimpleNamespace(name=name, cell=Cell(method, "nano", 1), key=made)


@pytest.fixture
def study():
    long = {"left_out": {"longer than the teacher's positions": 3}}
    plain = {"dev": {"plain": {"bleu": 20.0}, "averaged": {}}}
    steps = {
        TEACHER: [model("teacher", "teacher", **plain)],
        STUDENT: [model(f"nano/token/seed-{n}", "token", **long) for n in (1, 2)],
    }
    store = SimpleNamespace(find=lambda key: SimpleNamespace(counts=key))
    return SimpleNamespace(plan=SimpleNamespace(of=steps.get), store=store)


def test_what_seeds_have_in_common_is_said_once(study):
    assert _training_notes(study) == [
        "token: 3 pairs are left out of training, longer than the teacher's positions",
        "Averaging (last) changed the greedy dev BLEU of 2 models by +1.50 in the mean, from "
        "+1.50 (nano/token/seed-1) to +1.50 (nano/token/seed-2)",
    ]


def test_averaging_names_the_models_that_lost_and_gained_most():
    assert averaging_note("ema", [(-1.5, "a"), (0.25, "b"), (0.5, "c")]) == (
        "Averaging (ema) changed the greedy dev BLEU of 3 models by -0.25 in the mean, from "
        "-1.50 (a) to +0.50 (c)"
    )
    assert (
        averaging_note("ema", [(-1.5, "a")])
        == "a: averaging (ema) changed greedy dev BLEU by -1.50"
    )


def test_what_a_scenario_did_to_its_text_is_told_together():
    def step(name, stage, **counts):
        return SimpleNamespace(name=name, key=SimpleNamespace(stage=stage, counts=counts))

    corpus = step("corpus", "corpus", drops={"empty": 2}, notes=["told elsewhere"])
    made = [
        corpus,
        step("added text", "added", sources={"web": 5}),
        step("noise", "noise", words=7),
    ]
    signals = [step("hypotheses", "hypotheses", quarantined=3), step("teacher", "model", updates=1)]
    text = SimpleNamespace(clean=SimpleNamespace(corpus=corpus.key), steps=made)
    scenario = SimpleNamespace(text=text, steps=signals)
    assert _corpus(SimpleNamespace(store=SimpleNamespace(find=lambda key: key)), scenario) == {
        "drops": {"empty": 2},
        "added": {"sources": {"web": 5}},
        "noise": {"words": 7},
        "quarantined": {"hypotheses": 3},
    }
