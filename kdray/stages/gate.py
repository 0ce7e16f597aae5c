"""The gates of a student of a study, sentence by sentence."""

from pathlib import Path

from kdray.errors import InputError
from kdray.fit.sentence_gates import GatedStudent, GateRow, read_pairs
from kdray.model.generate import SearchOptions
from kdray.plan import ModelPlan
from kdray.schema import Column, Split
from kdray.stages.models import teacher_paths
from kdray.stages.study import Study
from kdray.text.corpus import Corpus


def read_gates(study: Study, student: str, file: Path | None) -> list[GateRow]:
    """Gates of the sentences of a file (source, tab, reference), or of dev, in their order.

    Raises:
        InputError: there is no such student, it is not made yet, or it has no gate; the file
            cannot be read, or a line of it lacks the reference that the method reads or is
            longer than the models can read.
    """
    plan, search = _find(study, student), study.recipe.signals.hypotheses
    gated = GatedStudent(
        study.path(plan.key), teacher_paths(study), name=student, updates=plan.training.updates
    )
    assert search is not None, "a gate could not have been trained without"
    options = SearchOptions(
        beam=search.beam,
        length_penalty=search.length_penalty,
        max_length_ratio=search.max_length_ratio,
        max_length_slack=search.max_length_slack,
    )
    if file is None:
        return gated.read(_dev(study), options, place=f"{Split.DEV}, pair")
    return gated.read(read_pairs(file), options, place=f"{file}, line")


def _find(study: Study, student: str) -> ModelPlan:
    names = {model.name: model for model in study.plan.students}
    if student not in names:
        raise InputError(f"{student}: no such student; there are {', '.join(names)}")
    if not study.is_made(names[student].key):
        raise InputError(
            f"{student}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    return names[student]


def _dev(study: Study) -> list[tuple[str, str]]:
    table = Corpus(study.path(study.plan.corpus)).table(Split.DEV)
    return list(zip(table[Column.SRC].to_pylist(), table[Column.REF].to_pylist(), strict=True))
