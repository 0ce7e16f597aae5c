"""Imitation: the teacher's next word for prefixes that the student itself has written.

Lin et al. (2020): in update i of N, counted from 0, a sentence's prefix is the student's with
probability 1 − base^(−i/N) and the reference's otherwise. The loss is the cross-entropy to the
teacher's likeliest word, or KL(p ‖ q), on that prefix. [K]: the student's sequences are sampled
whole at temperature 1, by a copy of it that is renewed every few updates.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from kdray.config.methods.imitation import ImitationConfig
from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import TokenLosses, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.online import OnlineTeacher
from kdray.methods.student_sequences import with_student_view
from kdray.methods.targets import DenseTargets, TeacherTargets
from kdray.model.transformer import Transformer
from kdray.schema import View


class Imitation(Method[ImitationConfig]):
    """The teacher's distribution or word on a mixture of the student's and reference prefixes."""

    def __init__(
        self, config: ImitationConfig, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__(config, student, teacher)
        self.writer = copy.deepcopy(student).requires_grad_(False)

    @property
    def student_share(self) -> float:
        """Probability of a student's prefix in the update that the clock shows."""
        return 1 - float(self.config.base**-self.clock.progress)

    @torch.no_grad()
    def prepare(self, student: Transformer, batch: Batch) -> Batch:
        """Renew the copy if it is time, and let it write for some of the sentences."""
        if (self.clock.step - 1) % self.config.refresh == 0:
            self.writer.load_state_dict(student.state_dict())
        chosen = torch.rand(batch.src_BS.size(0)) < self.student_share
        return with_student_view(batch, self.writer, chosen_B=chosen, temperature=1.0)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        teacher = teacher_of(batch, View.STUDENT)
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, View.STUDENT, memory_BSD=memory)
        losses = self._losses(states, student.output_weight, teacher)
        own = "token" if self.config.target == "distribution" else "cross_entropy_teacher"
        return Loss(
            terms={Per.STUDENT: losses.total},
            parts={
                f"loss/{own}": ((losses.soft_N + losses.hard_N).sum(), Per.STUDENT)
            },  # one is zero
        )

    def _losses(self, states: Tensor, weight: Tensor, teacher: TeacherTargets) -> TokenLosses:
        if self.config.target == "distribution":
            return token_losses(states, weight, soft=soft_loss(teacher))
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        words = torch.cat([block.logits().argmax(1) for block, _ in teacher.blocks()])
        return token_losses(states, weight, labels_N=words)

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Log the probability of a student's prefix beside the averages."""
        return {**averages, "imitation/student_share": self.student_share}
