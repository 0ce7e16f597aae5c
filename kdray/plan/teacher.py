"""The teacher of an experiment: brought, or trained here, alone or as an ensemble."""

from collections.abc import Iterator
from pathlib import Path

from kdray.artifacts import Brought, sha256_file
from kdray.cell import TEACHER, Cell
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.recipe import Recipe
from kdray.config.teacher import BroughtTeacherConfig, TrainedTeacherConfig, members
from kdray.errors import DataError
from kdray.fit.assemble import Signals
from kdray.fit.spec import TrainingSpec
from kdray.model.storage import WEIGHTS, load_shape
from kdray.plan.step import Step
from kdray.plan.text import TextPlan


def brought_teachers(recipe: Recipe) -> tuple[Brought, ...]:
    """The models that the recipe brings.

    Raises:
        DataError: a folder holds no model.
    """
    configs = [c for c in members(recipe.teacher) if isinstance(c, BroughtTeacherConfig)]
    return tuple(_brought(Path(config.path)) for config in configs)


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
                corpus=text.corpus,
                tokenizer=text.tokenizer,
                encoded=text.encoded,
                signals=Signals(),
                bleu_tokenize=recipe.evaluation.bleu_tokenize,
            )
            cell = Cell.teacher(config.seed, number=number if len(configs) > 1 else 0)
            detail = f"{spec.ends_at} updates"
            yield Step(spec, TEACHER, str(cell), "Teacher", detail, cell, TEACHER)


def _brought(path: Path) -> Brought:
    """A brought model; its weights and its tokenizer stand for it.

    Raises:
        DataError: the folder holds no kdray model.
    """
    shape = load_shape(path)
    try:
        weights = sha256_file(path / WEIGHTS)
    except OSError as error:
        raise DataError(
            f"{path / WEIGHTS}: {error.strerror}; a model needs it beside its shape"
        ) from None
    return Brought(path.absolute(), f"{weights[:16]}-{shape.tokenizer}")
