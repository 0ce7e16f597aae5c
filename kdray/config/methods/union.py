"""All distillation methods, alone, one after another, and one in another's cooldown.

Installed packages may complete the union (`kdray.config.outside`).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kdray.config.base import Frozen
from kdray.config.methods.annealing import AnnealingConfig
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.hard_gate import HardGateConfig
from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.imitation import ImitationConfig
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.on_policy import OnPolicyConfig
from kdray.config.methods.scored import ScoredConfig
from kdray.config.methods.selective import SelectiveConfig
from kdray.config.methods.sentence_level import SentenceLevelConfig
from kdray.config.methods.taid import TaidConfig
from kdray.config.methods.tie import TieConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.config.needs import Needs
from kdray.config.outside import with_outside
from kdray.config.training import ScheduleConfig

BuiltInMethodConfig = (
    CrossEntropyConfig
    | TokenLevelConfig
    | SentenceLevelConfig
    | InterpolationConfig
    | MultiHypothesisConfig
    | ScoredConfig
    | HybridConfig
    | HardGateConfig
    | SelectiveConfig
    | TieConfig
    | AnnealingConfig
    | DivergenceConfig
    | TaidConfig
    | ImitationConfig
    | OnPolicyConfig
    | FeatureConfig
)
if TYPE_CHECKING:
    SingleMethodConfig = BuiltInMethodConfig
else:
    SingleMethodConfig = with_outside(
        BuiltInMethodConfig,
        "kdray.config.methods",
        base=BaseMethodConfig,
        beside="kdray.methods",
        taken=("stages", "branch"),
    )


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

Selecting = InterpolationConfig | MultiHypothesisConfig | ScoredConfig
"""Methods that learn a choice among several translations of each pair."""


def declared(method: SingleMethodConfig) -> Needs:
    """What a method, which may be somebody else's, says that it needs.

    Raises:
        ValueError: it fails at that, or says what no study can give.
    """
    try:
        needs: object = method.needs()
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot say what it needs: {type(error).__name__}: {error}") from None
    if not isinstance(needs, Needs):
        raise ValueError(f"says with needs() {needs!r}; return a kdray.config.needs.Needs")
    if needs.chosen_among is not None and not isinstance(method, Selecting):
        raise ValueError(
            f"says chosen_among={needs.chosen_among}, but only the kinds interpolation, "
            "multi_hypothesis and scored choose; leave it out, and the best translation is learned"
        )
    return needs


def single_methods(config: MethodConfig) -> tuple[SingleMethodConfig, ...]:
    """The methods that a config is made of: itself, or those of its parts."""
    if isinstance(config, BranchConfig):
        return (config.trunk, config.cooldown)
    if isinstance(config, StagesConfig):
        return tuple(stage.method for stage in config.stages)
    return (config,)
