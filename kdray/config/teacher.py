"""The teacher, and what it leaves behind for its students."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen
from kdray.config.model import ModelConfig
from kdray.config.training import TrainingConfig
from kdray.schema import Signal, View


class TrainedTeacherConfig(Frozen):
    """A teacher that the study trains itself, with label-smoothed cross-entropy."""

    kind: Literal["trained"]
    model: ModelConfig
    training: TrainingConfig
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    seed: int = Field(default=1, ge=0)


class BroughtTeacherConfig(Frozen):
    """A kdray model that exists already: a folder with weights, shape and tokenizer."""

    kind: Literal["checkpoint"]
    path: str


TeacherConfig = Annotated[TrainedTeacherConfig | BroughtTeacherConfig, Field(discriminator="kind")]


class HypothesesConfig(Frozen):
    """Beam search over the training sources."""

    beam: int = Field(default=5, ge=1, le=64)
    num_hyps: int = Field(default=1, ge=1, le=64)
    length_penalty: float = Field(default=1.0, ge=0)
    max_length_ratio: float = Field(default=2.0, gt=0)  # hypothesis tokens per source token
    max_length_slack: int = Field(default=10, ge=1)  # tokens added to that

    @model_validator(mode="after")
    def _beam_holds_them(self) -> Self:
        if self.num_hyps > self.beam:
            raise ValueError(
                f"num_hyps {self.num_hyps} is more than a beam of {self.beam} holds; widen the beam"
            )
        return self


class DistributionsConfig(Frozen):
    """Teacher-forced top-k distributions with the mass of the rest, for each temperature."""

    form: Literal["topk"] = "topk"
    k: int = Field(default=32, ge=1)
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)
    on: tuple[View, ...] = Field(default=(View.REFERENCE, View.HYPOTHESIS), min_length=1)


class SignalsConfig(Frozen):
    """What the teacher stores; null stores nothing of that kind."""

    hypotheses: HypothesesConfig | None = HypothesesConfig()
    distributions: DistributionsConfig | None = DistributionsConfig()

    def stored(self) -> frozenset[Signal]:
        """The signals that students can read."""
        signals: set[Signal] = set()
        if self.hypotheses is not None:
            signals.add(Signal.HYPOTHESES)
        if self.distributions is not None:
            if View.REFERENCE in self.distributions.on:
                signals.add(Signal.REFERENCE_DISTRIBUTIONS)
            if View.HYPOTHESIS in self.distributions.on and self.hypotheses is not None:
                signals.add(Signal.HYPOTHESIS_DISTRIBUTIONS)
        return frozenset(signals)
