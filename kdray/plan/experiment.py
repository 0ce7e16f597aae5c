"""The plan of an experiment: everything that it makes, in order, before any of it is made.

A fingerprint depends on a step's slice of the recipe and on the fingerprints of what it reads,
back to the checksums of the files that were given. So a dry run can tell what is cached, and every
step knows where its inputs will be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdray.artifacts import Source
from kdray.cell import TEACHER, Cell
from kdray.config.experiment import Experiment
from kdray.config.export import ExportConfig
from kdray.config.recipe import Recipe
from kdray.export.job import ExportJob
from kdray.plan.complexity import complexity_steps
from kdray.plan.initial import plan_starts
from kdray.plan.signals import plan_signals
from kdray.plan.step import EXPORT, SCORES, Step, spec_of
from kdray.plan.students import Students
from kdray.plan.teacher import brought_teachers, teacher_steps
from kdray.plan.text import TextPlan, plan_text
from kdray.plan.vocabulary import teacher_entries
from kdray.scoring.evaluation import EvaluationJob
from kdray.teacher.build import build_teacher
from kdray.teacher.distributions import check_k
from kdray.teacher.engine import Teacher
from kdray.teacher.own import OwnModels


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps in order, and how students are planned, for those that a search makes up."""

    steps: tuple[Step, ...]
    text: TextPlan
    teacher: Teacher | None
    students: Students

    def of(self, stage: str) -> tuple[Step, ...]:
        """The steps of a stage that are wanted for themselves."""
        return tuple(step for step in self.steps if step.stage == stage and step.is_goal)


def make_plan(experiment: Experiment, *, all_signals: bool = False) -> Plan:
    """Work out all steps. Reads the given files, to check and to fingerprint them.

    Signals that no method needs are left out, unless all are asked for.

    Raises:
        DataError: a corpus file or a brought teacher cannot be read.
        ConfigError: vocabularies that have to be one are not, more entries are to be kept than
            the vocabulary has, or students cannot start from the teacher.
    """
    recipe = experiment.recipe
    brought = brought_teachers(recipe)
    text = plan_text(recipe, brought)
    trained = tuple(teacher_steps(recipe, text))
    sources: tuple[Source, ...] = brought or tuple(step.key for step in trained)
    teacher = None if recipe.teacher is None else build_teacher(recipe.teacher, sources)
    signals = plan_signals(recipe, text, teacher, all_signals=all_signals)
    if sources and recipe.signals.topk is not None:
        check_k(recipe.signals.topk, teacher_entries(recipe, brought))
    students = Students(recipe, text, signals, plan_starts(recipe, teacher))
    models = tuple(students.steps())
    goals = [step for step in models if step.is_goal]
    scores = _score_steps(recipe, text, teacher, trained, goals)
    exports = _export_steps(experiment.exports, goals)
    complexity = complexity_steps(text, teacher)
    steps = (*text.steps, *trained, *signals.steps, *models, *scores, *complexity, *exports)
    return Plan(steps, text, teacher, students)


def _export_steps(exports: Mapping[str, ExportConfig], students: Sequence[Step]) -> Iterator[Step]:
    """Every student in every form."""
    for name, config in exports.items():
        for step in students:
            job, heading = ExportJob(config, step.key), f"Export as {name}"
            yield Step(job, EXPORT, f"{step.name} as {name}", heading, "", step.cell, step.kind)


def _score_steps(
    recipe: Recipe,
    text: TextPlan,
    teacher: Teacher | None,
    trained: Sequence[Step],
    students: Sequence[Step],
) -> Iterator[Step]:
    """Every model on dev and on all tests: the teachers together, then the students."""
    if teacher is not None:
        cell = trained[0].cell if len(trained) == 1 else None
        yield _scores(recipe, text, teacher, cell or Cell.teacher())
    for step in students:
        assert step.cell is not None, "every student has one"
        yield _scores(recipe, text, OwnModels((step.key,)), step.cell)


def _scores(recipe: Recipe, text: TextPlan, model: Teacher, cell: Cell) -> Step:
    kind = TEACHER if cell.is_teacher else recipe.methods[cell.method].kind
    job = EvaluationJob(model, text.corpus, recipe.evaluation)
    return Step(job, SCORES, str(cell), "Evaluation", "", cell, kind)


def trained_updates(students: Sequence[Step]) -> tuple[int, int]:
    """Updates that are made for students of several lengths, and the sum of their lengths."""
    finals = {step.key.fingerprint: spec_of(step) for step in students}
    parts = {s.key.fingerprint: s for final in finals.values() for s in final.chain()}
    made = sum(spec.own_updates for spec in parts.values())
    return made, sum(spec.training.updates for spec in finals.values())
