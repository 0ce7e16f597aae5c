"""Temporally adaptive interpolated distillation: a teacher that starts near the student.

Shing et al. (2025): Σ_t CE(softmax((1−t)·sg(z_q) + t·z_p), q), sg the stop of the gradient. After
each update with loss J, t moves on at least as fast as a line and faster while the loss falls:

    δ = (J_before − J)/(J_before + ε),   m ← momentum·m + (1−momentum)·δ
    t ← min(end, max(start + (end−start)·progress, t + rate·σ(m)·(1−t)))

as in the authors' code, where the first update only sets J_before, progress counts the updates
before this one, ε is 1e-15 and m starts at 0. J is the cross-entropy, as there.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import DenseLoss, Piece, log_norm
from kdray.methods.targets import DenseTargets
from kdray.model.transformer import Transformer
from kdray.schema import View

LOSS = "loss/interpolated"
EPSILON = 1e-15


class Taid(Method):
    """Cross-entropy to a mixture of the student's own logits and the teacher's.

    Args:
        start: the teacher's share t of the logits at first.
        end: the most that t becomes.
        rate: how far t moves in one update, besides the line.
        momentum: of the relative fall of the loss.
        prefix: the sequence whose prefixes both models read.
    """

    t: Tensor
    fall: Tensor
    previous: Tensor

    def __init__(
        self, *, start: float, end: float, rate: float, momentum: float, prefix: View
    ) -> None:
        super().__init__()
        self.start = start
        self.end = end
        self.rate = rate
        self.momentum = momentum
        self.prefix = prefix
        self.register_buffer("t", torch.tensor(start, dtype=torch.float64))
        self.register_buffer("fall", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("previous", torch.tensor(math.nan, dtype=torch.float64))

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
        teacher = teacher_of(batch, self.prefix)
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        losses = token_losses(
            packed_states(student, batch, self.prefix, memory_BSD=memory),
            student.output_weight,
            soft=Interpolated(teacher, float(self.t)),
        )
        per = Per.token_of(self.prefix)
        return Loss(terms={per: losses.total}, parts={LOSS: (losses.soft_N.sum(), per)})

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Move t; log the one that this update was made with."""
        loss, before, t = averages[LOSS], float(self.previous), float(self.t)
        if not math.isnan(before):
            relative = (before - loss) / (before + EPSILON)
            fall = self.momentum * float(self.fall) + (1 - self.momentum) * relative
            self.fall.fill_(fall)
            line = self.start + (self.end - self.start) * self.clock.progress
            pace = self.rate / (1 + math.exp(-fall))
            self.t.fill_(min(self.end, max(line, t + pace * (1 - t))))
        self.previous.fill_(loss)
        return {**averages, "taid/t": t}


class Interpolated(DenseLoss):
    """CE(p_t, q), p_t = softmax((1−t)·sg(z_q) + t·z_p), whose gradient is q − p_t."""

    def __init__(self, targets: DenseTargets, share: float) -> None:
        super().__init__(targets)
        self.share = share

    def fold(self, at: Piece) -> Tensor:
        """−Σ p_t log q = log Σ exp z − Σ p_t z."""
        z, q, weight = at.z, at.q, at.weight
        norm = log_norm(z, q)
        p_t = torch.lerp(z, at.teacher, self.share).softmax(1)
        q.mul_((at.scale + weight)[:, None]).addcmul_(p_t, weight[:, None], value=-1)
        return norm - p_t.mul_(z).sum(1)
