"""Annealing: learn the teacher's logits, damped at first and whole at the end.

Jafari et al. (2021), first stage: Σ_t ‖z_q − Φ(τ)·z_p‖², Φ(τ) = 1 − (τ−1)/τ_max, a sum over the
vocabulary. τ falls from τ_max to 1 over the updates, each value for equally long, so Φ rises from
1/τ_max to 1. Logits are centred to mean zero [K]: a softmax does not see their mean. The second
stage of the paper is cross-entropy, a method of its own here.
"""

from collections.abc import Mapping

from torch import Tensor

from kdray.config.methods.annealing import AnnealingConfig
from kdray.methods.kernel_losses import DenseLoss, Piece
from kdray.methods.logit_method import LogitMethod
from kdray.methods.targets import DenseTargets, TeacherTargets


class Annealing(LogitMethod[AnnealingConfig]):
    """Squared distance to the teacher's damped logits."""

    part = "loss/logits"

    @property
    def factor(self) -> float:
        """Φ of the update that the clock shows."""
        most = self.config.max_temperature
        temperature = max(most - (self.clock.step - 1) * most // self.clock.updates, 1)
        return 1 - (temperature - 1) / most

    def soft(self, teacher: TeacherTargets) -> "DampedLogits":
        """The squared distance, with its slope."""
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        return DampedLogits(teacher, self.factor)

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Log Φ beside the averages."""
        return {**averages, "annealing/factor": self.factor}


class DampedLogits(DenseLoss):
    """‖z_q − Φ·z_p‖² of centred logits, whose gradient 2·(z_q − Φ·z_p) is centred too."""

    reads_softmax = False

    def __init__(self, targets: DenseTargets, factor: float) -> None:
        super().__init__(targets)
        self.factor = factor

    def fold(self, at: Piece) -> Tensor:
        """See SoftLoss."""
        gap = at.z.sub_(at.teacher, alpha=self.factor)
        gap.sub_(gap.mean(1, keepdim=True))
        at.q.mul_(at.scale[:, None]).addcmul_(gap, at.weight[:, None], value=2)
        return gap.square_().sum(1)
