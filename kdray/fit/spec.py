"""What a model is trained from and by: plain data, from which its identity follows.

A plan and the job of a worker hold the same `TrainingSpec`. It names what training reads by
`Source`, so it means the same on every node.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kdray.artifacts import Key, Source
from kdray.config.initial import Layers
from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.config.training import TrainingConfig
from kdray.fit.assemble import Signals
from kdray.model import inherit
from kdray.teacher.engine import Teacher

VERSION = 4


@dataclass(frozen=True, slots=True)
class Random:
    """Random weights, drawn from the seed."""


@dataclass(frozen=True, slots=True)
class TeacherLayers:
    """Layers of a teacher, perhaps pruned."""

    teacher: Teacher
    layers: Layers

    def recipe(self) -> dict[str, Any]:
        """What the fingerprint of a model that starts here holds, beside the teacher's."""
        layers = {"encoder": list(self.layers.encoder), "decoder": list(self.layers.decoder)}
        return {**layers, "version": inherit.VERSION}


@dataclass(frozen=True, slots=True)
class AfterStage:
    """The weights that another training ended with; the optimiser begins anew."""

    before: "TrainingSpec"


@dataclass(frozen=True, slots=True)
class OffTrunk:
    """The last checkpoint of a trunk: weights, optimiser and all."""

    before: "TrainingSpec"


Start = Random | TeacherLayers | AfterStage | OffTrunk


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One training.

    Attributes:
        teacher: the teacher that runs beside the student, where nothing stored serves.
        ends_at: its last update. A training that ends before the last one of its configuration is
            a trunk: others go on from it.
        bleu_tokenize: how the BLEU of its validations is taken.
    """

    model: ModelConfig
    method: SingleMethodConfig
    training: TrainingConfig
    seed: int
    ends_at: int
    corpus: Source
    tokenizer: Source
    encoded: Source
    signals: Signals
    teacher: Teacher | None = None
    start: Start = Random()
    bleu_tokenize: str = "13a"

    @property
    def is_trunk(self) -> bool:
        """Whether it ends while the learning rate is still constant."""
        return self.ends_at < self.training.updates

    @property
    def trunk(self) -> "TrainingSpec | None":
        """The trunk that it leaves, if it does."""
        return self.start.before if isinstance(self.start, OffTrunk) else None

    @property
    def own_trunk(self) -> "TrainingSpec | None":
        """The trunk that it leaves by the trunk's own method, as the run that is trained alone."""
        return self.trunk if self.trunk is not None and self.trunk.method == self.method else None

    @property
    def reads(self) -> tuple[Key, ...]:
        """The artifacts that it reads."""
        sources = [self.corpus, self.tokenizer, self.encoded, *self.signals.stored().values()]
        if self.teacher is not None:
            sources += self.teacher.sources
        match self.start:
            case TeacherLayers(teacher):
                sources += teacher.sources
            case AfterStage(before) | OffTrunk(before):
                sources.append(before.key)
        return tuple(source for source in sources if isinstance(source, Key))

    @property
    def own_updates(self) -> int:
        """Updates that are made for it, beside those of its trunk."""
        return self.ends_at - (0 if self.trunk is None else self.trunk.ends_at)

    def chain(self) -> "Iterator[TrainingSpec]":
        """All that is trained one after another for this model, which comes last."""
        if isinstance(self.start, AfterStage | OffTrunk):
            yield from self.start.before.chain()
        yield self

    @property
    def key(self) -> Key:
        """Identity of the model, or of the trunk.

        A run that leaves a trunk by the trunk's own method is the run that is trained alone, so
        its identity is that one's. That of a trunk does not depend on how long the runs are that
        go on from it, nor on how their learning rate falls.
        """
        start, training = self._first_start(), self._training()
        shape = self.model.model_dump(mode="json", exclude={"preset"})
        method = self.method.model_dump(mode="json")
        recipe = {"model": shape, "method": method, "seed": self.seed, "training": training}
        inputs = {name: each.fingerprint for name, each in self.signals.stored().items()}
        inputs["encoded"] = self.encoded.fingerprint
        if self.teacher is not None:
            inputs["teacher"] = "+".join(self.teacher.fingerprints)
        match start:
            case TeacherLayers():
                recipe["initial"] = start.recipe()
                inputs["initial"] = "+".join(start.teacher.fingerprints)
            case AfterStage():
                inputs["start"] = start.before.key.fingerprint
            case OffTrunk():
                inputs["trunk"] = start.before.key.fingerprint
        if not self.is_trunk:
            return Key("model", VERSION, recipe, inputs)
        del training["updates"]
        for name in ("cooldown", "shape"):
            training["schedule"].pop(name, None)
        return Key("trunk", VERSION, recipe | {"until": self.ends_at}, inputs)

    def _first_start(self) -> Start:
        """Where it starts, but for trunks by its own method."""
        return self.start if self.own_trunk is None else self.own_trunk._first_start()

    def _training(self) -> dict[str, Any]:
        """With what BLEU is taken of, where BLEU decides which checkpoint is the model."""
        dumped = self.training.model_dump(mode="json")
        if not dumped["source_weights"]:
            del dumped["source_weights"]
        early = self.training.early_stopping
        if early is not None and early.metric == "bleu":
            dumped["early_stopping"]["bleu_tokenize"] = self.bleu_tokenize
        return dumped
