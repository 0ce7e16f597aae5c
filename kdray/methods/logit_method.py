"""Methods that compare logits of student and teacher, position by position, on one sequence.

    L = Σ_t w_hard·CE_ls(y_t) + w_soft·loss(z_q, z_p),   z the logits over the temperature

The easy way to a new method: write `loss` and nothing else. Autograd differentiates it inside the
kernel, block by block, so that no [N, V] tensor is kept. A method whose gradient was derived by
hand, because that is faster, overrides `soft`.
"""

from typing import NamedTuple

from torch import Tensor

from kdray.methods.base import Batch, Config, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import AutogradLoss, SoftLoss
from kdray.methods.targets import SoftTargets, TeacherTargets
from kdray.model.transformer import Taps, Transformer


class Weights(NamedTuple):
    """Of the two parts of a loss. Without a weight there is no cross-entropy at all."""

    soft: float = 1.0
    hard: float | None = None
    label_smoothing: float = 0.0


class LogitMethod(Method[Config]):
    """A loss of logits, alone or beside the cross-entropy on the target."""

    @property
    def part(self) -> str:
        """What the loss is called in the log."""
        return "loss/token"

    @property
    def weights(self) -> Weights:
        """Weights of the loss and of the cross-entropy: if not told otherwise, the loss alone."""
        return Weights()

    def loss(self, student_logits_NV: Tensor, teacher: Tensor | SoftTargets) -> Tensor:
        """The loss at some positions, of logits over the temperature; see `LogitLoss`. -> [n]."""
        raise NotImplementedError(f"{type(self).__name__} has neither a `loss` nor a `soft`")

    def soft(self, teacher: TeacherTargets) -> SoftLoss:
        """The loss against a teacher's distributions, with its gradient."""
        return AutogradLoss(teacher, self.loss)

    def forward(self, student: Transformer, batch: Batch, taps: Taps | None = None) -> Loss:
        """Loss sums of a batch; `taps` take what is inside the student."""
        (view,), weights = self.needs.views, self.weights
        losses = token_losses(
            packed_states(student, batch, view, taps=taps),
            student.output_weight,
            labels_N=None if weights.hard is None else batch.targets[view].labels_N,
            hard_weight_N=weights.hard or 0.0,
            label_smoothing=weights.label_smoothing,
            soft=self.soft(teacher_of(batch, view)),
            soft_weight_N=weights.soft,
        )
        per = Per.token_of(view)
        parts = {self.part: (losses.soft_N.sum(), per)}
        if weights.hard is not None:
            parts = {f"loss/cross_entropy_{view}": (losses.hard_N.sum(), per), **parts}
        return Loss(terms={per: losses.total}, parts=parts)
