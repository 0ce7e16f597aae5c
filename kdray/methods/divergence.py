"""Learn the teacher's distribution at every position of a prefix: (1−α)·CE(y) + α·T²·D(p, q).

With forward KL this is `token_level`, the word-level distillation of Kim & Rush (2016) with the
temperature of Hinton et al. (2015); the other divergences are at temperature 1.
"""

from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.methods.kernel_losses import SoftLoss, soft_loss
from kdray.methods.logit_method import LogitMethod, Weights
from kdray.methods.measures import FORWARD, Measure
from kdray.methods.online import OnlineTeacher
from kdray.methods.targets import TeacherTargets
from kdray.model.transformer import Transformer


class Divergence(LogitMethod[TokenLevelConfig | DivergenceConfig]):
    """Cross-entropy and a divergence from the teacher, on one prefix and in one pass."""

    def __init__(
        self,
        config: TokenLevelConfig | DivergenceConfig,
        student: Transformer,
        teacher: OnlineTeacher | None = None,
    ) -> None:
        super().__init__(config, student, teacher)
        self.measure = FORWARD
        if isinstance(config, DivergenceConfig):
            self.part = f"loss/{config.divergence}"
            self.measure = Measure(
                config.divergence, beta=config.beta, skew=config.skew, head=config.head
            )

    @property
    def weights(self) -> Weights:
        """α and 1−α; the factor T² keeps the gradient's size. α of 0 is the baseline."""
        alpha, temperature = self.config.alpha, self.needs.temperature
        return Weights(alpha * temperature**2, 1 - alpha, self.config.label_smoothing)

    def soft(self, teacher: TeacherTargets) -> SoftLoss:
        """D, with its slope."""
        return soft_loss(teacher, self.measure)
