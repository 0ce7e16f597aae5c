"""The gates of a student of a study, sentence by sentence."""

from pathlib import Path

from kdray.errors import InputError
from kdray.fit.sentence_gates import GatedStudent, GateRow, read_pairs
from kdray.methods.build import method_class
from kdray.model.generate import SearchOptions
from kdray.plan.step import STUDENT, spec_of
from kdray.runner.study import Study
from kdray.schema import Column, Split
from kdray.text.corpus import Corpus


def read_gates(study: Study, student: str, file: Path | None) -> list[GateRow]:
    """Gates of the sentences of a file (source, tab, reference), or of dev, in their order.

    Raises:
        InputError: there is no such student, it is not made yet, or it has no gate; the file
            cannot be read, or a line of it lacks the reference that the method reads or is
            longer than the models can read.
    """
    students = {step.name: step for step in study.plan.of(STUDENT)}
    if student not in students:
        raise InputError(f"{student}: no such student; there are {', '.join(students)}")
    step, fetch = students[student], study.store.fetch
    if not study.is_made(step.key):
        raise InputError(
            f"{student}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    scenario, spec = study.plan.scenario(step), spec_of(step)
    search, teacher = scenario.recipe.signals.hypotheses, scenario.teacher
    if not method_class(spec.method.kind).has_gate:
        raise InputError(f"{student}: {spec.method.kind} has no gate; name a student by a hybrid")
    assert search is not None, "a gate could not have been trained without"
    assert teacher is not None, "nor without a teacher"
    gated = GatedStudent(fetch(step.key), teacher, fetch, updates=spec.training.updates)
    options = SearchOptions(**search.model_dump(exclude={"num_hyps"}))
    if file is not None:
        return gated.read(read_pairs(file), options, place=f"{file}, line")
    dev = Corpus(fetch(scenario.text.clean.corpus)).table(Split.DEV)
    pairs = zip(dev[Column.SRC].to_pylist(), dev[Column.REF].to_pylist(), strict=True)
    return gated.read(list(pairs), options, place=f"{Split.DEV}, pair")
