"""What a report says of a study besides its measurements."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdray
from kdray.artifacts import Key
from kdray.cell import TEACHER, shown, within
from kdray.jobs import NOTES
from kdray.measures.rarity import rarity
from kdray.plan.experiment import trained_updates
from kdray.plan.scenario import Scenario
from kdray.plan.step import CHECKED, CORPUS, SCORES, STUDENT, TOKENIZER, Step, spec_of
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.reporting.numbers import listed
from kdray.runner.complexity import load_tokenizer, measures_of
from kdray.runner.forms import form_facts
from kdray.runner.results import unscored
from kdray.runner.study import Study
from kdray.schema import Column, Split
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit

NOTED = (CORPUS, TOKENIZER, CHECKED)
"""Stages of which the report tells what a person should read."""
PACKAGES = ("ray", "torch", "mlflow", "sacrebleu", "sentencepiece", "ctranslate2", "pyarrow")


def study_facts(study: Study) -> StudyFacts:
    """What the report says besides the measurements."""
    recipe, scenarios = study.recipe, study.plan.scenarios
    counts = {shown(scenario.point): _corpus(study, scenario) for scenario in scenarios}
    fingerprints = {
        f"scores of {s.name}" if s.stage == SCORES else s.name: s.key.fingerprint
        for s in study.plan.steps
    }
    for scenario in scenarios:
        if scenario.teacher is not None:
            name = within(scenario.point, TEACHER)
            fingerprints[name] = " + ".join(scenario.teacher.fingerprints)
    return StudyFacts(
        name=study.experiment.name,
        recipe=recipe.model_dump(mode="json"),
        corpus=counts if len(scenarios) > 1 else next(iter(counts.values())),
        fingerprints=fingerprints,
        versions={"kdray": kdray.__version__} | {name: version(name) for name in PACKAGES},
        baseline=recipe.baseline_method,
        main_beam=recipe.evaluation.main_beam,
        budget=_budget(study),
        bootstrap_samples=recipe.evaluation.bootstrap_samples,
        scenarios={
            s.point: _scenario_facts(study, s)
            for s in study.display.followed("scenarios", scenarios)
        },
        axes={name: axis.numbers for name, axis in recipe.axes.items()},
        notes=(*_text_notes(study), *study.notes, *unscored(study), *_training_notes(study)),
        complexity=measures_of(study),
        sharing=_sharing(study.plan.of(STUDENT)),
        forms=tuple(form_facts(study)),
    )


def _corpus(study: Study, scenario: Scenario) -> Mapping[str, Any]:
    """What cleaning, noise, added text and the teacher's limits did to a scenario's text.

    `quarantined`: by step, the pairs that are too long for the teacher.
    """
    counts = _counts(study, scenario.text.clean.corpus)
    counts.pop(NOTES, None)  # they stand among the notes of the report
    for step in scenario.text.steps:
        if step.key.stage in ("added", "noise"):
            counts[step.key.stage] = _counts(study, step.key)
    return {**counts, **_quarantined(study, scenario)}


def _counts(study: Study, key: Key) -> dict[str, Any]:
    artifact = study.store.find(key)
    return {} if artifact is None else {**artifact.counts}


def _quarantined(study: Study, scenario: Scenario) -> dict[str, Any]:
    made = {step.name: study.store.find(step.key) for step in scenario.steps}
    counts = {name: each.counts for name, each in made.items() if each is not None}
    kept = {name: each["quarantined"] for name, each in counts.items() if "quarantined" in each}
    return {"quarantined": kept} if kept else {}


def _scenario_facts(study: Study, scenario: Scenario) -> ScenarioFacts:
    """References of a scenario whose corpus is made; of another one none."""
    of, fetch = scenario.text, study.store.fetch
    texts: Mapping[str, SplitText] = {}
    if study.is_made(of.clean.corpus):
        encoded = tokenizer = None
        if study.is_made(of.learned.encoded):
            encoded, tokenizer = fetch(of.learned.encoded), fetch(of.tokenizer)
        texts = _texts(fetch(of.clean.corpus), encoded, tokenizer)
    return ScenarioFacts(texts, scenario.recipe.evaluation.bleu_tokenize)


@lru_cache(maxsize=64)  # for all points that share them
def _texts(corpus: Path, encoded: Path | None, tokenizer: Path | None) -> Mapping[str, SplitText]:
    """The evaluation sets of a corpus, and how rare their words are in what students learn from."""
    text, texts = Corpus(corpus), {}
    for split in (str(Split.DEV), *(f"test-{name}" for name in text.tests)):
        table = text.table(split)
        src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
        rare: Sequence[float] = ()
        if encoded is not None and tokenizer is not None:
            rare = rarity(_piece_counts(encoded), src, load_tokenizer(tokenizer))
        texts[split] = SplitText(src, refs, rare)
    return texts


@lru_cache(maxsize=64)  # for the tests of a text, and the corpora that share it
def _piece_counts(encoded: Path) -> NDArray[np.int64]:
    """How often each piece occurs in the training sources."""
    return np.bincount(EncodedSplit.load(encoded, Split.TRAIN).src.values)


def _budget(study: Study) -> str:
    """Under which budget students are compared; with an axis over it there are several."""
    every = (each.recipe.students.training.budget.words for each in study.plan.scenarios)
    return f"at {listed(list(dict.fromkeys(every)))}"


def _text_notes(study: Study) -> list[str]:
    """What corpus and tokenizer cost, where they cost something, and how a teacher was tried."""
    made = [study.store.find(s.key) for s in study.plan.steps if s.stage in NOTED]
    return [note for each in made if each is not None for note in each.counts.get(NOTES, ())]


def _sharing(students: Sequence[Step]) -> str:
    """How many updates a common trunk saves, in words; empty without one."""
    sharing = [step for step in students if spec_of(step).trunk is not None]
    made, lengths = trained_updates(sharing)
    if made == lengths:
        return ""
    return (
        f"Students that share a trunk at the constant rate train its updates once: {made} updates "
        f"for lengths of {lengths} together, {1 - made / lengths:.0%} fewer."
    )


def _training_notes(study: Study) -> list[str]:
    """Which runs ended early, what they left out, and what averaging did to dev BLEU."""
    notes: list[str] = []
    averaged: dict[str, list[tuple[float, str]]] = {}  # by kind: what BLEU gained, and where
    for step in (*study.plan.of(TEACHER), *study.plan.of(STUDENT)):
        artifact = study.store.find(step.key)
        if artifact is None:
            continue
        counts = artifact.counts
        if counts["stopped_early"]:
            early = spec_of(step).training.early_stopping
            assert early is not None, "only such a run stops early"
            notes.append(
                f"{step.name}: stopped early after {counts['updates']} updates; the model is "
                f"that of update {counts['chosen_update']}, the best by dev {early.metric}"
            )
        for reason, pairs in counts.get("left_out", {}).items():
            method = step.name if step.cell is None else step.cell.method
            notes.append(f"{method}: {pairs} pairs are left out of training, {reason}")
        dev = counts["dev"]
        if dev["averaged"]:
            gain = dev["averaged"]["bleu"] - dev["plain"]["bleu"]
            averaged.setdefault(counts["averaging"], []).append((gain, step.name))
    notes += [averaging_note(kind, gains) for kind, gains in averaged.items()]
    return list(dict.fromkeys(notes))  # seeds and sizes leave out the same


def averaging_note(kind: str, gains: Sequence[tuple[float, str]]) -> str:
    """What averaged weights did to the dev BLEU of some models, in words."""
    (low, worst), (high, best) = min(gains), max(gains)
    if len(gains) == 1:
        return f"{worst}: averaging ({kind}) changed greedy dev BLEU by {low:+.2f}"
    mean = sum(gain for gain, _ in gains) / len(gains)
    return (
        f"Averaging ({kind}) changed the greedy dev BLEU of {len(gains)} models by {mean:+.2f} in "
        f"the mean, from {low:+.2f} ({worst}) to {high:+.2f} ({best})"
    )
