"""Learn the teacher's distribution at every position of a prefix: (1−α)·CE(y) + α·T²·D(p, q).

With forward KL this is `token_level`, the word-level distillation of Kim & Rush (2016) with the
temperature of Hinton et al. (2015); the other divergences are at temperature 1.
"""

from typing import TypeVar

from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.methods.kernel_losses import SoftLoss, soft_loss
from kdray.methods.logit_method import LogitMethod, Weights
from kdray.methods.measures import measure_of
from kdray.methods.targets import TeacherTargets

Config = TypeVar("Config", TokenLevelConfig, DivergenceConfig, FeatureConfig)


class TokenLevel(LogitMethod[Config]):
    """Cross-entropy and forward KL from the teacher, on one prefix and in one pass."""

    @property
    def weights(self) -> Weights:
        """α and 1−α; the factor T² keeps the gradient's size. α of 0 is the baseline."""
        alpha, temperature = self.config.alpha, self.needs.temperature
        return Weights(alpha * temperature**2, 1 - alpha, self.config.label_smoothing)

    def soft(self, teacher: TeacherTargets) -> SoftLoss:
        """Forward KL, with its slope."""
        return soft_loss(teacher)


class Divergence(TokenLevel[DivergenceConfig]):
    """The same with another divergence."""

    @property
    def part(self) -> str:
        """The divergence's own name."""
        return f"loss/{self.config.divergence}"

    def soft(self, teacher: TeacherTargets) -> SoftLoss:
        """D, with its slope."""
        d = self.config
        return soft_loss(teacher, measure_of(d.divergence, beta=d.beta, skew=d.skew, head=d.head))
