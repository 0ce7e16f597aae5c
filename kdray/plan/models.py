"""A model to be trained, as a plan knows it, and its identity."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kdray.artifacts import Key
from kdray.config.base import Frozen
from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.config.training import TrainingConfig
from kdray.plan.initial import Inheritance
from kdray.plan.signals import StudentSignals

MODEL_VERSION = 4
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model to be trained: a teacher, a student, or what a student goes on from.

    Attributes:
        method_kind: what the report calls its method.
        method: what this model, or this part of it, learns by.
        inherits: the teacher's layers that it, or the trunk that it leaves, starts from instead
            of random weights.
        budget: updates that a student is named by, if several lengths are compared.
        start: the model of the stage before, whose student this one begins with.
        trunk: the run whose last checkpoint this one goes on from, optimiser and all.
        until: the update after which it ends, if that is before its last: it is a trunk.
    """

    name: str
    method_name: str
    method_kind: str
    size: str
    seed: int
    model: ModelConfig
    method: SingleMethodConfig
    training: TrainingConfig
    key: Key
    signals: StudentSignals = field(default_factory=StudentSignals)
    start: "ModelPlan | None" = None
    inherits: Inheritance | None = None
    budget: int | None = None
    trunk: "ModelPlan | None" = None
    until: int | None = None

    def chain(self) -> "Iterator[ModelPlan]":
        """All that has to be trained one after another for this model, which comes last."""
        before = self.before
        if before is not None:
            yield from before.chain()
        yield self

    @property
    def before(self) -> "ModelPlan | None":
        """What has to be there before this model is trained."""
        return self.start or self.trunk

    @property
    def ends_at(self) -> int:
        """Its last update."""
        return self.until or self.training.updates

    @property
    def own_updates(self) -> int:
        """Updates that are made for it, beside those of its trunk."""
        return self.ends_at - (0 if self.trunk is None else self.trunk.ends_at)


def model_key(
    model: ModelConfig,
    method: SingleMethodConfig,
    training: TrainingConfig,
    seed: int,
    encoded: Key,
    reads: StudentSignals,
    *,
    bleu_tokenize: str,
    start: Key | None = None,
    trunk: Key | None = None,
    inherits: Inheritance | None = None,
) -> Key:
    """Identity of a model.

    `trunk` is given only where it says what the rest does not: a run that goes on by its trunk's
    own method is the run that was trained alone. So is `inherits`: not of what goes on from a
    model whose own identity has it.
    """
    read = _inputs(encoded, reads, inherits)
    if start is not None:
        read["start"] = start.fingerprint
    if trunk is not None:
        read["trunk"] = trunk.fingerprint
    recipe = _recipe(model, method, seed, inherits) | {
        "training": _training(training, bleu_tokenize)
    }
    return Key("model", MODEL_VERSION, recipe, read)


def trunk_key(
    model: ModelConfig,
    method: SingleMethodConfig,
    training: TrainingConfig,
    seed: int,
    encoded: Key,
    reads: StudentSignals,
    *,
    bleu_tokenize: str,
    until: int,
    inherits: Inheritance | None = None,
) -> Key:
    """Identity of a run up to an update at the constant rate.

    It does not depend on how long the runs are that go on from there, nor on how they cool down.
    """
    constant = _training(training, bleu_tokenize)
    del constant["updates"]
    constant["schedule"] = {
        name: value
        for name, value in constant["schedule"].items()
        if name not in ("cooldown", "shape")
    }
    recipe = _recipe(model, method, seed, inherits) | {"training": constant, "until": until}
    return Key("trunk", MODEL_VERSION, recipe, _inputs(encoded, reads, inherits))


def trained_updates(students: tuple[ModelPlan, ...]) -> tuple[int, int]:
    """Updates that are made for students of several lengths, and the sum of their lengths."""
    models = {m.key.fingerprint: m for student in students for m in student.chain()}
    finals = {student.key.fingerprint: student for student in students}
    made = sum(model.own_updates for model in models.values())
    return made, sum(student.training.updates for student in finals.values())


def _recipe(
    model: ModelConfig, method: SingleMethodConfig, seed: int, inherits: Inheritance | None
) -> dict[str, Any]:
    shape = model.model_dump(mode="json", exclude={"preset"})
    initial = {} if inherits is None else {"initial": inherits.recipe()}
    return {"model": shape, "method": _dump(method), "seed": seed, **initial}


def _training(config: TrainingConfig, bleu_tokenize: str) -> dict[str, Any]:
    """With what BLEU is taken of, where BLEU decides which checkpoint is the model."""
    dumped = _dump(config)
    if config.early_stopping is not None and config.early_stopping.metric == "bleu":
        dumped["early_stopping"]["bleu_tokenize"] = bleu_tokenize
    return dumped


def _inputs(encoded: Key, reads: StudentSignals, inherits: Inheritance | None) -> dict[str, str]:
    read = {name: key.fingerprint for name, key in reads.inputs().items()}
    read["encoded"] = encoded.fingerprint
    if reads.online:
        read["teacher"] = "+".join(reads.teachers)
    if inherits is not None:
        read["initial"] = inherits.teacher
    return read


def _dump(config: Frozen) -> dict[str, Any]:
    return config.model_dump(mode="json")
