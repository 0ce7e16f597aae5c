"""The forms in which the students of a scenario are written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdray.artifacts import Key
from kdray.cell import Point, within
from kdray.config.export import ExportConfig
from kdray.config.recipe import Recipe
from kdray.export.about import about_student
from kdray.export.job import ExportJob
from kdray.plan.step import EXPORT, Step
from kdray.plan.text import TextPlan
from kdray.scoring.evaluation import EvaluationJob

HEADING = "Export as "


def form_name(step: Step) -> str:
    """The name that the configuration gives the form that a step writes."""
    return step.heading.removeprefix(HEADING)


@dataclass(frozen=True, slots=True)
class Exports:
    """Plans the forms of students: what is known of each goes on their cards.

    keys: all that the scenario makes, by fingerprints. scores: those of each student, by its own.
    """

    point: Point
    recipe: Recipe
    text: TextPlan
    keys: Mapping[str, Key]
    scores: Mapping[str, Key]

    @classmethod
    def of(cls, point: Point, recipe: Recipe, text: TextPlan, steps: Sequence[Step]) -> "Exports":
        """Of a scenario whose steps are planned."""
        scores = {
            step.job.teacher.fingerprints[0]: step.key
            for step in steps
            if isinstance(step.job, EvaluationJob)
        }
        return cls(point, recipe, text, {step.key.fingerprint: step.key for step in steps}, scores)

    @property
    def _languages(self) -> tuple[str, str] | None:
        """As the corpus calls them; a generated one has none that anybody speaks."""
        corpus = self.recipe.corpus
        return (corpus.src_lang, corpus.tgt_lang) if corpus.kind == "files" else None

    def job(self, config: ExportConfig, student: Step) -> ExportJob:
        """What writes a student in a form."""
        bare = student.name.removeprefix(within(self.point, ""))  # the step may stand in the grid
        about = about_student(
            student.key,
            self.keys.get,
            name=within(self.point, bare),
            licence=self.recipe.corpus.licence,
            languages=self._languages,
        )
        return ExportJob(
            config,
            student.key,
            about,
            corpus=self.text.clean.corpus,
            scores=self.scores.get(student.key.fingerprint),
            evaluation=self.recipe.evaluation,
        )

    def steps(self, forms: Mapping[str, ExportConfig], students: Sequence[Step]) -> Iterator[Step]:
        """Every student in every form."""
        for name, config in forms.items():
            for step in students:
                job, heading = self.job(config, step), f"{HEADING}{name}"
                yield Step(job, EXPORT, f"{step.name} as {name}", heading, "", step.cell, step.kind)
