"""All distillation methods, alone, one after another, and one in another's cooldown.

A method's config says in `needs()` which teacher signals it reads.
"""

from typing import Annotated, Literal

from pydantic import Field

from kdray.config.base import Frozen
from kdray.config.distribution_methods import (
    AnnealingConfig,
    DivergenceConfig,
    TaidConfig,
    TokenLevelConfig,
)
from kdray.config.mixed_methods import HardGateConfig, HybridConfig, SelectiveConfig
from kdray.config.online_methods import FeatureConfig, ImitationConfig, OnPolicyConfig, TieConfig
from kdray.config.sequence_methods import (
    CrossEntropyConfig,
    InterpolationConfig,
    MultiHypothesisConfig,
    SentenceLevelConfig,
)
from kdray.config.training import ScheduleConfig

SingleMethodConfig = Annotated[
    CrossEntropyConfig
    | TokenLevelConfig
    | SentenceLevelConfig
    | InterpolationConfig
    | MultiHypothesisConfig
    | HybridConfig
    | HardGateConfig
    | SelectiveConfig
    | TieConfig
    | AnnealingConfig
    | DivergenceConfig
    | TaidConfig
    | ImitationConfig
    | OnPolicyConfig
    | FeatureConfig,
    Field(discriminator="kind"),
]


class StageConfig(Frozen):
    """A part of a training: a method, its length, and a schedule if it is not the students'."""

    method: SingleMethodConfig
    updates: int = Field(ge=1)
    schedule: ScheduleConfig | None = None


class StagesConfig(Frozen):
    """Methods one after another, each going on with the student that the one before left."""

    kind: Literal["stages"]
    stages: tuple[StageConfig, ...] = Field(min_length=2)


class BranchConfig(Frozen):
    """One method at the constant rate, another from where the rate falls; one optimiser.

    The part at the constant rate is a trunk, which students with the same one share.
    """

    kind: Literal["branch"]
    trunk: SingleMethodConfig
    cooldown: SingleMethodConfig


MethodConfig = Annotated[
    SingleMethodConfig | StagesConfig | BranchConfig, Field(discriminator="kind")
]


def single_methods(config: MethodConfig) -> tuple[SingleMethodConfig, ...]:
    """The methods that a config is made of: itself, or those of its parts."""
    if isinstance(config, BranchConfig):
        return (config.trunk, config.cooldown)
    if isinstance(config, StagesConfig):
        return tuple(stage.method for stage in config.stages)
    return (config,)
