"""Scores of the teacher's translations: of each one a number, kept beside it; more is better."""

from typing import Annotated, Literal

from pydantic import Field

from kdray.config.base import Frozen, Place
from kdray.config.scorers import AnyScorerConfig

Likeness = Literal["bleu", "chrf"]


class ModelScoreConfig(Frozen):
    """The teacher's own log-probability of a translation, by its length to a power."""

    kind: Literal["model"]
    length_penalty: float = Field(default=1.0, ge=0)


class ReferenceScoreConfig(Frozen):
    """How like the reference a translation is, sentence BLEU or chrF (0 to 100)."""

    kind: Literal["reference"]
    similarity: Likeness = "chrf"


class RiskScoreConfig(Frozen):
    """Mean similarity to all translations of the pair, itself included (minimum Bayes risk)."""

    kind: Literal["risk"]
    similarity: Likeness = "chrf"


class CrossEntropyScoreConfig(Frozen):
    """Mean log-probability of a token by a second model: of the source, or of the translation.

    `backward`: the model reads the translation and is asked for the source (dual cross-entropy
    filters are made of this). `forward`: another model of the same direction.
    """

    kind: Literal["cross_entropy"]
    path: Place  # a folder with a kdray model
    direction: Literal["backward", "forward"] = "backward"


class AgreementScoreConfig(Frozen):
    """How like the translation is that a second model makes of the same source."""

    kind: Literal["agreement"]
    path: Place  # a folder with a kdray model
    similarity: Likeness = "chrf"
    beam: int = Field(default=5, ge=1, le=64)


class ScorerScoreConfig(Frozen):
    """What a scorer from outside says: a command, or one that a package brings."""

    kind: Literal["scorer"]
    scorer: AnyScorerConfig
    reads_references: bool = True  # false for a metric that estimates quality without one


ScoreConfig = Annotated[
    ModelScoreConfig
    | ReferenceScoreConfig
    | RiskScoreConfig
    | CrossEntropyScoreConfig
    | AgreementScoreConfig
    | ScorerScoreConfig,
    Field(discriminator="kind"),
]


def reads_references(config: ScoreConfig) -> bool:
    """Whether a score is worth something only where a pair has a reference."""
    if isinstance(config, ScorerScoreConfig):
        return config.reads_references
    return isinstance(config, ReferenceScoreConfig)
