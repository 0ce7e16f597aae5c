"""Annealing: learn the teacher's logits, damped at first and whole at the end.

Jafari et al. (2021), first stage: Σ_t ‖z_q − Φ(τ)·z_p‖², Φ(τ) = 1 − (τ−1)/τ_max, a sum over the
vocabulary. τ falls from τ_max to 1 over the updates, each value for equally long, so Φ rises from
1/τ_max to 1. Logits are centred to mean zero [K]: a softmax does not see their mean. The second
stage of the paper is cross-entropy, a method of its own here.
"""

from collections.abc import Mapping

from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.blockwise import blockwise_losses
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
        factor = self.factor
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, View.REFERENCE, memory_BSD=memory)

        def losses(logits: Tensor, rows: slice) -> dict[str, Tensor]:
            gap = centred(logits) - factor * centred(teacher.part(rows).logits())
            return {"logits": gap.square().sum(1)}

        ones = states.new_ones(states.size(0))
        total, parts = blockwise_losses(
            states, student.output_weight, losses=losses, weights={"logits": ones}
        )
        return Loss(
            terms={Per.REFERENCE: total},
            parts={"loss/logits": (parts["logits"].sum(), Per.REFERENCE)},
        )

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Log Φ beside the averages."""
        return {**averages, "annealing/factor": self.factor}


def centred(logits: Tensor) -> Tensor:
    """Logits less their mean over the vocabulary. -> [n, V]."""
    return logits - logits.mean(1, keepdim=True)
