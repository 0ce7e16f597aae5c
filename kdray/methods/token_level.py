"""Token-level distillation: learn the teacher's distribution at every position of a prefix.

This is the word-level distillation of Kim & Rush (2016) with the temperature of Hinton et al.
(2015): (1−α)·CE(y) + α·T²·Σ_t KL(p_T(·|y_<t, x) ‖ q_T(·|y_<t, x)).
"""

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.model.transformer import Transformer
from kdray.schema import View


class TokenLevel(Method):
    """Cross-entropy and KL divergence from the teacher, on one prefix and in one pass.

    Args:
        alpha: weight of the KL term; 0 is the baseline.
        temperature: T; the factor T² keeps the gradient's size.
        label_smoothing: of the cross-entropy only.
        prefix: the sequence whose prefixes both models read.
    """

    def __init__(
        self, *, alpha: float, temperature: float, label_smoothing: float, prefix: View
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self._temperature = temperature
        self.label_smoothing = label_smoothing
        self.prefix = prefix

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (self.prefix,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (self.prefix,)

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return self._temperature

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        target = batch.targets[self.prefix]
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, self.prefix, memory_BSD=memory)
        ones = states.new_ones(states.size(0))
        losses = token_losses(
            states,
            student.output_weight,
            labels_N=target.labels_N,
            hard_weight_N=(1 - self.alpha) * ones,
            label_smoothing=self.label_smoothing,
            soft=soft_loss(teacher_of(batch, self.prefix)),
            soft_weight_N=self.alpha * self.temperature**2 * ones,
        )
        per = Per.token_of(self.prefix)
        return Loss(
            terms={per: losses.total},
            parts={
                f"loss/cross_entropy_{self.prefix}": (losses.hard_N.sum(), per),
                "loss/token": (losses.soft_N.sum(), per),
            },
        )
