"""The plan of one scenario: what one recipe, without axes, makes, from its text to its scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kdray.artifacts import Source
from kdray.cell import TEACHER, Cell, Point, within
from kdray.config.export import ExportConfig
from kdray.config.methods.union import MethodConfig
from kdray.config.recipe import Recipe
from kdray.plan.complexity import complexity_steps
from kdray.plan.counts import plan_counts
from kdray.plan.exports import Exports
from kdray.plan.gates import gate_steps
from kdray.plan.initial import plan_starts
from kdray.plan.signals import plan_signals
from kdray.plan.step import SCORER, SCORES, SIGNALS, STUDENT, Step, up_to
from kdray.plan.students import Students
from kdray.plan.teacher import brought_teachers, check_steps, conversion_steps, teacher_steps
from kdray.plan.text import TextPlan, plan_text
from kdray.plan.vocabulary import teacher_entries
from kdray.scoring.evaluation import EvaluationJob
from kdray.scoring.job import ScorerJob
from kdray.teacher.build import build_teacher
from kdray.teacher.distributions import check_k
from kdray.teacher.engine import Teacher
from kdray.teacher.own import OwnModels


@dataclass(frozen=True, slots=True)
class Scenario:
    """A point of the grid: its recipe and steps, and how its students are planned."""

    point: Point
    recipe: Recipe
    steps: tuple[Step, ...]
    text: TextPlan
    teacher: Teacher | None
    students: Students

    def of(self, stage: str) -> tuple[Step, ...]:
        """The steps of a stage that are wanted for themselves."""
        return tuple(step for step in self.steps if step.stage == stage and step.is_goal)

    @property
    def exports(self) -> Exports:
        """What plans the forms of its students."""
        return Exports.of(self.point, self.recipe, self.text, self.steps)


def plan_scenario(
    point: Point,
    recipe: Recipe,
    exports: Mapping[str, ExportConfig],
    *,
    all_signals: bool,
    also: Sequence[MethodConfig] = (),
) -> Scenario:
    """Work out the steps of one recipe, in order; see `make_plan`."""
    counts = plan_counts(recipe)
    brought = brought_teachers(recipe)
    text = plan_text(recipe, brought)
    trained = tuple(teacher_steps(recipe, text))
    converted = tuple(conversion_steps(recipe))
    made_here = tuple(step.key for step in (*trained, *converted))
    sources: tuple[Source, ...] = made_here or brought
    teacher = None
    if recipe.teacher is not None:
        teacher = build_teacher(recipe.teacher, sources, shared=recipe.tokenizer is None)
    checked = tuple(check_steps(recipe, text, teacher))
    signals = plan_signals(recipe, text, teacher, all_signals=all_signals, also=also)
    if (trained or brought) and recipe.signals.topk is not None:
        check_k(recipe.signals.topk, teacher_entries(recipe, brought))
    students = Students(recipe, text, signals, plan_starts(recipe, teacher), counts)
    learned = (*text.steps, *trained, *converted, *checked, *signals.steps)
    path = (*learned, *_steps_of_models(recipe, text, teacher, trained, students))
    goals = [step for step in path if step.stage == STUDENT and step.is_goal]
    made = (*path, *Exports.of(point, recipe, text, path).steps(exports, goals))
    steps = tuple(_at(point, step) for step in made) if point else made
    return Scenario(point, recipe, steps, text, teacher, students)


def with_recipe(scenario: Scenario, recipe: Recipe) -> Scenario:
    """The same text, teacher and signals, with the students of another recipe, and no exports.

    Nothing is read of corpora and teachers again but the shape of a brought one.

    Raises:
        ConfigError: students read what is not planned, or cannot have their budget.
    """
    text, teacher, before = scenario.text, scenario.teacher, scenario.students
    students = Students(
        recipe, text, before.signals, plan_starts(recipe, teacher), plan_counts(recipe)
    )
    learned = up_to(scenario.steps, SIGNALS)
    trained = [step for step in learned if step.stage == TEACHER]
    made = (*learned, *_steps_of_models(recipe, text, teacher, trained, students))
    return Scenario(scenario.point, recipe, made, text, teacher, students)


def _steps_of_models(
    recipe: Recipe,
    text: TextPlan,
    teacher: Teacher | None,
    trained: Sequence[Step],
    students: Students,
) -> tuple[Step, ...]:
    """All students, their scores, and what is looked at besides."""
    models = tuple(students.steps())
    goals = [step for step in models if step.is_goal]
    scores = tuple(_score_steps(recipe, text, teacher, trained, goals))
    scorers = _scorer_steps(recipe, text, scores)
    looks = (*complexity_steps(text, teacher), *gate_steps(recipe, text, teacher, goals))
    return (*models, *scores, *scorers, *looks)


def _at(point: Point, step: Step) -> Step:
    """A step with the place in the grid in its names."""
    cell = None if step.cell is None else replace(step.cell, point=point)
    detail = within(point, step.detail) if step.detail else ""
    return replace(step, name=within(point, step.name), detail=detail, cell=cell)


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


def _scorer_steps(recipe: Recipe, text: TextPlan, scores: Sequence[Step]) -> Iterator[Step]:
    """Every scorer from outside on the translations of every model."""
    for name, config in recipe.evaluation.scorers.items():
        for step in scores:
            job, heading = ScorerJob(name, config, step.key, text.clean.corpus), f"Scorer {name}"
            title = f"{name} of {step.name}"
            yield Step(job, SCORER, title, heading, title, step.cell, step.kind)


def _scores(recipe: Recipe, text: TextPlan, model: Teacher, cell: Cell) -> Step:
    kind = TEACHER if cell.is_teacher else recipe.methods[cell.method].kind
    job = EvaluationJob(model, text.clean.corpus, recipe.evaluation)
    return Step(job, SCORES, str(cell), "Evaluation", "", cell, kind)
