"""How models are evaluated: under which conditions they decode, and what scores them."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from kdray.condition import SAMPLING, Condition
from kdray.config.base import Frozen, Name
from kdray.config.scorers import AnyScorerConfig

OWN_METRICS = ("bleu", "chrf", "loss", "accuracy")
"""What is measured without a scorer from outside."""


class SamplingConfig(Frozen):
    """A translation of each source that is drawn from the model's distribution."""

    temperature: float = Field(default=1.0, gt=0)
    seed: int = Field(default=1, ge=0)


class EvaluationConfig(Frozen):
    """How translations are made and scored. Dev chooses; test is scored once, at the end."""

    # the last one is the main score
    beams: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(default=(1, 5), min_length=1)
    length_penalty: float = Field(default=1.0, ge=0, le=100)
    # shares of the reference that are given, each a condition of its own; 1 is teacher forcing
    prefixes: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    sampling: SamplingConfig | None = None
    # sacrebleu's name; `none` for text that is tokenised already; a recipe without one chooses it
    bleu_tokenize: str = "13a"
    bootstrap_samples: int = Field(default=1000, ge=100, le=100_000)
    scorers: dict[Name, AnyScorerConfig] = Field(default_factory=dict)  # metrics from outside

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.prefixes)) != len(self.prefixes):
            raise ValueError(f"prefixes {list(self.prefixes)} repeat a share; give each once")
        if taken := [name for name in OWN_METRICS if name in self.scorers]:
            raise ValueError(f"scorers.{taken[0]}: kdray measures {taken[0]} itself; rename it")
        return self

    @property
    def main_beam(self) -> int:
        """The width of the beam that gives the main score, and that goes on from prefixes."""
        return self.beams[-1]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions: the plain ones first, so that nothing disturbs what they measure."""
        return (
            *(Condition.of_beam(width) for width in dict.fromkeys(self.beams)),
            *map(Condition.of_prefix, self.prefixes),
            *([Condition(SAMPLING)] if self.sampling else []),
        )

    def identity(self) -> dict[str, Any]:
        """What decides translations and their scores, for fingerprints.

        Conditions that are not asked for are left out, as in recipes from before there were any.
        """
        whole = self.model_dump(mode="json", exclude={"bootstrap_samples", "scorers"})
        return {k: v for k, v in whole.items() if v or k not in ("prefixes", "sampling")}
