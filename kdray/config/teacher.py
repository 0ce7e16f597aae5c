"""The teacher: trained by the study, a kdray model, several of those, or one of another tool."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen, Place
from kdray.config.foreign_teachers import (
    CommandTeacherConfig,
    CTranslate2TeacherConfig,
    ForeignTeacherConfig,
    FunctionTeacherConfig,
    HuggingFaceTeacherConfig,
    MarianTeacherConfig,
    OutsideTeacherConfig,
)
from kdray.config.model import ModelConfig
from kdray.config.outside import with_outside
from kdray.config.training import TrainingConfig


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
    path: Place


MemberConfig = Annotated[TrainedTeacherConfig | BroughtTeacherConfig, Field(discriminator="kind")]


class EnsembleTeacherConfig(Frozen):
    """Several teachers with one vocabulary, whose probabilities are averaged at every token.

    `perplexity` weighs the members anew for each training pair, by the inverse of their perplexity
    on its reference.
    """

    kind: Literal["ensemble"]
    members: tuple[MemberConfig, ...] = Field(min_length=2)
    weights: Literal["uniform", "perplexity"] = "uniform"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if len({member.kind for member in self.members}) > 1:
            raise ValueError(
                "members are partly trained and partly brought, so they have different "
                "vocabularies; train all of them or bring all of them"
            )
        return self


BuiltInTeacherConfig = (
    TrainedTeacherConfig
    | BroughtTeacherConfig
    | EnsembleTeacherConfig
    | CTranslate2TeacherConfig
    | CommandTeacherConfig
    | FunctionTeacherConfig
    | HuggingFaceTeacherConfig
    | MarianTeacherConfig
)
if TYPE_CHECKING:
    TeacherConfig = BuiltInTeacherConfig | OutsideTeacherConfig
else:
    TeacherConfig = with_outside(
        BuiltInTeacherConfig,
        "kdray.config.teachers",
        base=OutsideTeacherConfig,
        beside="kdray.teacher",
    )


def members(config: TeacherConfig | None) -> tuple[MemberConfig, ...]:
    """The models of kdray's own that a teacher consists of."""
    if isinstance(config, EnsembleTeacherConfig):
        return config.members
    return () if config is None or isinstance(config, ForeignTeacherConfig) else (config,)
