"""The teacher of an experiment: brought, or trained here, alone or as an ensemble."""

from collections.abc import Iterator
from pathlib import Path

from kdray.artifacts import Brought, Key, sha256_file
from kdray.cell import TEACHER, Cell
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.recipe import Recipe
from kdray.config.teacher import BroughtTeacherConfig, TrainedTeacherConfig, members
from kdray.errors import DataError
from kdray.fit.assemble import Signals
from kdray.fit.spec import TrainingSpec
from kdray.model.storage import SHAPE, WEIGHTS, check_weights, load_shape
from kdray.plan.step import Step
from kdray.plan.text import TextPlan
from kdray.text.tokenizer import Tokenizer


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


def brought_model(path: Path) -> Brought:
    """A brought model; its weights, its shape and the tokenizer in its folder stand for it.

    Raises:
        DataError: the folder holds no kdray model, or its parts do not belong together.
    """
    shape, tokenizer = load_shape(path), Tokenizer.load(path)
    if tokenizer.checksum != shape.tokenizer:
        raise DataError(
            f"{path}: holds the tokenizer {tokenizer.checksum}, but {SHAPE} says that the model "
            f"was trained with {shape.tokenizer}; copy the folder again as it was"
        )
    vocabularies = (tokenizer.src_vocab, tokenizer.tgt_vocab)
    if vocabularies != (shape.src_vocab, shape.tgt_vocab):
        raise DataError(
            f"{path / SHAPE}: the model has {shape.src_vocab} source and {shape.tgt_vocab} target "
            f"pieces, its tokenizer {vocabularies[0]} and {vocabularies[1]}; copy the folder again "
            "as it was"
        )
    check_weights(path / WEIGHTS, shape)
    recipe = {"weights": sha256_file(path / WEIGHTS), "shape": shape.identity()}
    key = Key("brought", 2, recipe, {"tokenizer": tokenizer.checksum})
    return Brought(path.absolute(), key.fingerprint)
