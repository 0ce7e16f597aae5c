"""The teacher of an experiment: brought, converted, or trained here, alone or as an ensemble."""

from collections.abc import Iterator
from pathlib import Path

from kdray.artifacts import Brought
from kdray.cell import TEACHER, Cell
from kdray.config.foreign_teachers import (
    ForeignTeacherConfig,
    HuggingFaceTeacherConfig,
    MarianTeacherConfig,
)
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.recipe import Recipe
from kdray.config.teacher import BroughtTeacherConfig, TrainedTeacherConfig, members
from kdray.fit.assemble import Signals
from kdray.fit.spec import TrainingSpec
from kdray.jobs import Whole
from kdray.plan.brought import brought_model
from kdray.plan.step import CHECKED, CONVERTED, Step
from kdray.plan.text import TextPlan
from kdray.teacher.check import CheckJob
from kdray.teacher.engine import Teacher
from kdray.teacher.huggingface.conversion import ConversionJob
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.teacher import shared_tokenizer
from kdray.teacher.marian import MarianConversionJob


def brought_teachers(recipe: Recipe) -> tuple[Brought, ...]:
    """The models that the recipe brings with a tokenizer of kdray.

    Raises:
        DataError: a folder holds no model, or no such tokenizer where students are to share it.
    """
    if isinstance(recipe.teacher, HuggingFaceTeacherConfig) and recipe.tokenizer is None:
        origin = Origin.of(recipe.teacher)
        shared_tokenizer(origin.folder())
        return (Brought(origin.folder(), origin.fingerprint, origin.files),)
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


def conversion_steps(recipe: Recipe) -> Iterator[Step]:
    """The conversion of a teacher of another tool, if it needs one.

    Raises:
        InputError: there is no such model, it cannot be converted, or a package is missing.
    """
    match recipe.teacher:
        case HuggingFaceTeacherConfig():
            job: Whole = ConversionJob(Origin.of(recipe.teacher))
        case MarianTeacherConfig():
            job = MarianConversionJob.of(recipe.teacher)
        case _:
            return
    yield Step(job, CONVERTED, "converted teacher", "Conversion of the teacher")


def check_steps(recipe: Recipe, text: TextPlan, teacher: Teacher | None) -> Iterator[Step]:
    """The check of a teacher of another tool, before anything is decoded with it."""
    if teacher is not None and isinstance(recipe.teacher, ForeignTeacherConfig):
        job = CheckJob(teacher, text.clean.corpus, recipe.evaluation.bleu_tokenize)
        yield Step(job, CHECKED, "check of the teacher", "Check of the teacher")
