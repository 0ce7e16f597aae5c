"""Annealing: learn the teacher's logits, damped at first and whole at the end.

Jafari et al. (2021), first stage: Σ_t ‖z_q − Φ(τ)·z_p‖², Φ(τ) = 1 − (τ−1)/τ_max, a sum over the
vocabulary. τ falls from τ_max to 1 over the updates, each value for equally long, so Φ rises from
1/τ_max to 1. Logits are centred to mean zero [K]: a softmax does not see their mean. The second
stage of the paper is cross-entropy, a method of its own here.
"""

from collections.abc import Mapping

from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import DenseLoss, Piece
from kdray.methods.targets import DenseTargets
from kdray.model.transformer import Transformer
from kdray.schema import View


class Annealing(Method):
    """Squared distance to the teacher's damped logits.

    Args:
        max_temperature: τ_max, the number of steps from little to the whole teacher.
    """

    def __init__(self, *, max_temperature: int) -> None:
        super().__init__()
        self.max_temperature = max_temperature

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (View.REFERENCE,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (View.REFERENCE,)

    @property
    def factor(self) -> float:
        """Φ of the update that the clock shows."""
        passed = (self.clock.step - 1) * self.max_temperature // self.clock.updates
        temperature = max(self.max_temperature - passed, 1)
        return 1 - (temperature - 1) / self.max_temperature

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        teacher = teacher_of(batch, View.REFERENCE)
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        losses = token_losses(
            packed_states(student, batch, View.REFERENCE, memory_BSD=memory),
            student.output_weight,
            soft=DampedLogits(teacher, self.factor),
        )
        return Loss(
            terms={Per.REFERENCE: losses.total},
            parts={"loss/logits": (losses.soft_N.sum(), Per.REFERENCE)},
        )

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
