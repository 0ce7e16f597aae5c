"""The teacher of an experiment: brought, or trained here, alone or as an ensemble."""

from collections.abc import Iterator
from pathlib import Path

from kdray.artifacts import Brought
from kdray.cell import TEACHER, Cell
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.recipe import Recipe
from kdray.config.teacher import BroughtTeacherConfig, TrainedTeacherConfig, members
from kdray.fit.assemble import Signals
from kdray.fit.spec import TrainingSpec
from kdray.plan.brought import brought_model
from kdray.plan.step import Step
from kdray.plan.text import TextPlan


def brought_teachers(recipe: Recipe) -> tuple[Brought, ...]:
    """The models that the recipe brings.

    Raises:
        DataError: a folder holds no model.
    """
    configs = [c for c in members(recipe.teacher) if isinstance(c, BroughtTeacherConfig)]
    return tuple(brought_model(Path(config.path)) for config in configs)


def teacher_steps(recipe: Recipe, text: TextPlan) -> Iterator[Step]:
    """The trainings of teachers that are not brought."""
    configs = members(recipe.teacher)
    for number, config in enumerate(configs, start=1):
        if isinstance(config, TrainedTeacherConfig):
            smoothing = config.label_smoothing
            spec = TrainingSpec(
                model=config.model,
                method=CrossEntropyConfig(kind="cross_entropy", label_smoothing=smoothing),
                training=config.training,
                seed=config.seed,
                ends_at=config.training.updates,
                corpus=text.clean.corpus,
                tokenizer=text.tokenizer,
                encoded=text.taught.encoded,
                signals=Signals(),
                bleu_tokenize=recipe.evaluation.bleu_tokenize,
            )
            cell = Cell.teacher(config.seed, number=number if len(configs) > 1 else 0)
            detail = f"{spec.ends_at} updates"
            yield Step(spec, TEACHER, str(cell), "Teacher", detail, cell, TEACHER)
