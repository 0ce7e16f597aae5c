"""Any divergence in the place of forward KL: (1−α)·CE(y) + α·D(p, q)."""

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import Measure
from kdray.model.transformer import Transformer
from kdray.schema import View


class Divergence(Method):
    """(1−α)·CE(y) + α·D(p, q) for any of the divergences, on one prefix and in one pass.

    Args:
        measure: D.
        alpha: weight of D; 0 is the baseline.
        label_smoothing: of the cross-entropy only.
        prefix: the sequence whose prefixes both models read, and whose tokens are the labels.
    """

    def __init__(
        self, measure: Measure, *, alpha: float, label_smoothing: float, prefix: View
    ) -> None:
        super().__init__()
        self.measure = measure
        self.alpha = alpha
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

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, self.prefix, memory_BSD=memory)
        ones = states.new_ones(states.size(0))
        losses = token_losses(
            states,
            student.output_weight,
            labels_N=batch.targets[self.prefix].labels_N,
            hard_weight_N=(1 - self.alpha) * ones,
            label_smoothing=self.label_smoothing,
            soft=soft_loss(teacher_of(batch, self.prefix), self.measure),
            soft_weight_N=self.alpha * ones,
        )
        per = Per.token_of(self.prefix)
        return Loss(
            terms={per: losses.total},
            parts={
                f"loss/cross_entropy_{self.prefix}": (losses.hard_N.sum(), per),
                f"loss/{self.measure.name}": (losses.soft_N.sum(), per),
            },
        )
