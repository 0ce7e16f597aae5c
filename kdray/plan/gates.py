"""The steps that read the gates of students, for the report. No training reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kdray.config.recipe import Recipe
from kdray.fit.gate_job import GateJob
from kdray.methods.build import method_class
from kdray.model.generate import SearchOptions
from kdray.plan.step import GATES, Step, spec_of
from kdray.plan.text import TextPlan
from kdray.teacher.engine import Teacher
from kdray.teacher.translation import search_options


def gate_job(
    recipe: Recipe, text: TextPlan, teacher: Teacher | None, student: Step
) -> GateJob | None:
    """What reads the gate of a student; None if its method has no gate."""
    spec, search = spec_of(student), recipe.signals.hypotheses
    if not method_class(spec.method.kind).has_gate:
        return None
    assert teacher is not None, "a gate could not be trained without"
    options = SearchOptions()
    if search is not None:  # the best translation, also where a recipe draws
        options = replace(search_options(search), num_hyps=1, sampling=None)
    return GateJob(student.key, spec.training.updates, teacher, text.clean.corpus, options)


def gate_steps(
    recipe: Recipe, text: TextPlan, teacher: Teacher | None, students: Sequence[Step]
) -> Iterator[Step]:
    """Of each student with a gate that has the first seed: one shows how its method behaves."""
    for step in students:
        assert step.cell is not None, "every student has one"
        job = gate_job(recipe, text, teacher, step)
        if job is not None and step.cell.seed == recipe.students.seeds[0]:
            name = f"gates of {step.name}"
            yield Step(job, GATES, name, "Gates", "", step.cell, step.kind)
