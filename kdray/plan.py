"""The identity of everything that an experiment makes, known before any of it is made.

A fingerprint depends on the stage's slice of the recipe and on the fingerprints of what it reads,
back to the checksums of the files that were given. So a dry run can tell what is cached, and every
stage knows where its inputs will be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import Key, sha256_file
from kdray.config import (
    BroughtTeacherConfig,
    CrossEntropyConfig,
    Experiment,
    MethodConfig,
    ModelConfig,
    Recipe,
    TrainedTeacherConfig,
    TrainingConfig,
)
from kdray.config.base import Frozen
from kdray.errors import ConfigError
from kdray.model.storage import WEIGHTS, load_shape
from kdray.reporting.curves import RunName
from kdray.schema import Signal, View
from kdray.scoring import evaluate
from kdray.teacher import distributions, hypotheses
from kdray.text.corpus import corpus_key
from kdray.text.encoded import encoded_key
from kdray.text.tokenizer import Tokenizer, tokenizer_key

MODEL_VERSION = 1
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model to be trained: the teacher, or a student."""

    name: str
    method_name: str
    size: str
    seed: int
    model: ModelConfig
    method: MethodConfig
    training: TrainingConfig
    key: Key


@dataclass(frozen=True, slots=True)
class Plan:
    """Keys of all artifacts of an experiment.

    `tokenizer` is None when a brought teacher brings it; `teacher` is None when there is none or it
    is brought. `teacher_encoded` differs from `encoded` when teacher and students have vocabularies
    of their own; then `recoded` are the translations in the students' pieces.
    """

    corpus: Key
    tokenizer: Key | None
    encoded: Key
    brought: Path | None
    teacher: ModelPlan | None
    teacher_encoded: Key
    hypotheses: Key | None
    recoded: Key | None
    distributions: Mapping[View, Key]
    students: tuple[ModelPlan, ...]

    def teacher_fingerprint(self) -> str | None:
        """What stands for the teacher in the keys of its signals."""
        if self.teacher is not None:
            return self.teacher.key.fingerprint
        return None if self.brought is None else brought_checksum(self.brought)


def make_plan(experiment: Experiment, *, all_signals: bool = False) -> Plan:
    """Work out all keys. Reads the given files, to check and to fingerprint them.

    Signals that no method needs are left out, unless all are asked for.

    Raises:
        DataError: a corpus file or a brought teacher cannot be read.
        ConfigError: a method needs teacher and students to share a vocabulary, and they do not.
    """
    recipe = experiment.recipe
    corpus = corpus_key(recipe.corpus)
    brought = None
    if isinstance(recipe.teacher, BroughtTeacherConfig):
        brought = Path(recipe.teacher.path)
    tokenizer = None if recipe.tokenizer is None else tokenizer_key(recipe.tokenizer, corpus)
    own = _brought_tokenizer(brought) if tokenizer is None else tokenizer.fingerprint
    encoded = encoded_key(corpus, own)
    teacher_encoded = encoded
    if brought is not None and tokenizer is not None:
        _check_one_vocabulary(recipe)
        teacher_encoded = encoded_key(corpus, _brought_tokenizer(brought))
    teacher = None
    if isinstance(recipe.teacher, TrainedTeacherConfig):
        teacher = _teacher_plan(recipe.teacher, encoded)
    needed = recipe.signals.stored() if all_signals else _needed(recipe)
    fingerprint = teacher.key.fingerprint if teacher else brought and brought_checksum(brought)
    hyps = recoded = None
    soft: dict[View, Key] = {}
    if fingerprint:
        hyps, recoded, soft = _signal_keys(recipe, needed, fingerprint, encoded, teacher_encoded)
    return Plan(
        corpus=corpus,
        tokenizer=tokenizer,
        encoded=encoded,
        brought=brought,
        teacher=teacher,
        teacher_encoded=teacher_encoded,
        hypotheses=hyps,
        recoded=recoded,
        distributions=soft,
        students=tuple(_student_plans(recipe, encoded, recoded or hyps, soft)),
    )


def student_plan(
    recipe: Recipe, plan: Plan, *, size: str, method_name: str, method: MethodConfig, seed: int
) -> ModelPlan:
    """A student with a method that may not stand in the recipe, as a search makes them."""
    return _student_plan(
        recipe, plan.encoded, plan.recoded or plan.hypotheses, plan.distributions,
        size=size, method_name=method_name, method=method, seed=seed,
    )  # fmt: skip


def scores_key(recipe: Recipe, plan: Plan, model: str) -> Key:
    """Identity of the scores of a model with this fingerprint."""
    slice_ = recipe.evaluation.model_dump(mode="json", exclude={"bootstrap_samples"})
    inputs = {"model": model, "corpus": plan.corpus.fingerprint}
    return Key("scores", evaluate.VERSION, slice_, inputs)


def brought_checksum(folder: Path) -> str:
    """What stands for a brought model: its weights, shape and tokenizer.

    Raises:
        DataError: the folder holds no kdray model.
    """
    shape = load_shape(folder)
    return f"{sha256_file(folder / WEIGHTS)[:16]}-{shape.tokenizer}"


def _brought_tokenizer(brought: Path | None) -> str:
    assert brought is not None, "the recipe was checked for this"
    return Tokenizer.load(brought).checksum


def _check_one_vocabulary(recipe: Recipe) -> None:
    word_level = {Signal.REFERENCE_DISTRIBUTIONS, Signal.HYPOTHESIS_DISTRIBUTIONS}
    for name, method in recipe.methods.items():
        if method.needs() & word_level:
            raise ConfigError(
                f"recipe.methods.{name} ({method.kind}) learns the teacher's distributions, but "
                "recipe.tokenizer gives the students a vocabulary of their own and the brought "
                "teacher has another; leave recipe.tokenizer out to share the teacher's"
            )


def _teacher_plan(config: TrainedTeacherConfig, encoded: Key) -> ModelPlan:
    method = CrossEntropyConfig(kind="cross_entropy", label_smoothing=config.label_smoothing)
    key = _model_key(config.model, method, config.training, config.seed, {"encoded": encoded})
    return ModelPlan(TEACHER, TEACHER, TEACHER, config.seed, config.model, method,
                     config.training, key)  # fmt: skip


def _needed(recipe: Recipe) -> frozenset[Signal]:
    return frozenset().union(*(method.needs() for method in recipe.methods.values()))


def _signal_keys(
    recipe: Recipe,
    needed: frozenset[Signal],
    teacher: str,
    encoded: Key,
    teacher_encoded: Key,
) -> tuple[Key | None, Key | None, dict[View, Key]]:
    inputs = {"teacher": teacher, "encoded": teacher_encoded.fingerprint}
    hyps = recoded = None
    if recipe.signals.hypotheses is not None and Signal.HYPOTHESES in needed:
        hyps = Key("hypotheses", hypotheses.VERSION, _dump(recipe.signals.hypotheses), inputs)
        if encoded != teacher_encoded:
            parts = {"hypotheses": hyps.fingerprint, "encoded": encoded.fingerprint}
            recoded = Key("recoded", hypotheses.VERSION, {}, parts)
    soft: dict[View, Key] = {}
    config = recipe.signals.distributions
    for view, signal in (
        (View.REFERENCE, Signal.REFERENCE_DISTRIBUTIONS),
        (View.HYPOTHESIS, Signal.HYPOTHESIS_DISTRIBUTIONS),
    ):
        if config is not None and signal in needed:
            slice_ = {**config.model_dump(mode="json", exclude={"on"}), "on": str(view)}
            read = dict(inputs)
            if hyps is not None and view is View.HYPOTHESIS:
                read["hypotheses"] = hyps.fingerprint
            soft[view] = Key("distributions", distributions.VERSION, slice_, read)
    return hyps, recoded, soft


def _student_plans(
    recipe: Recipe, encoded: Key, hyps: Key | None, soft: Mapping[View, Key]
) -> list[ModelPlan]:
    return [
        _student_plan(
            recipe, encoded, hyps, soft, size=size, method_name=name, method=method, seed=seed
        )
        for seed in recipe.students.seeds
        for size in recipe.students.sizes
        for name, method in recipe.methods.items()
    ]


def _student_plan(
    recipe: Recipe,
    encoded: Key,
    hyps: Key | None,
    soft: Mapping[View, Key],
    *,
    size: str,
    method_name: str,
    method: MethodConfig,
    seed: int,
) -> ModelPlan:
    model, training = recipe.students.sizes[size], recipe.students.training
    inputs = {"encoded": encoded}
    needs = method.needs()
    if hyps is not None and Signal.HYPOTHESES in needs:
        inputs["hypotheses"] = hyps
    if Signal.REFERENCE_DISTRIBUTIONS in needs:
        inputs["distributions on reference"] = soft[View.REFERENCE]
    if Signal.HYPOTHESIS_DISTRIBUTIONS in needs:
        inputs["distributions on hypothesis"] = soft[View.HYPOTHESIS]
    key = _model_key(model, method, training, seed, inputs)
    name = str(RunName(size=size, method=method_name, seed=seed))
    return ModelPlan(name, method_name, size, seed, model, method, training, key)


def _model_key(
    model: ModelConfig,
    method: MethodConfig,
    training: TrainingConfig,
    seed: int,
    inputs: Mapping[str, Key],
) -> Key:
    return Key(
        stage="model",
        version=MODEL_VERSION,
        recipe={
            "model": _dump(model),
            "method": _dump(method),
            "training": _dump(training),
            "seed": seed,
        },
        inputs={name: key.fingerprint for name, key in inputs.items()},
    )


def _dump(config: Frozen) -> dict[str, Any]:
    return config.model_dump(mode="json")
