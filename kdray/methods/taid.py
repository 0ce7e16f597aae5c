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

from kdray.config.methods.taid import TaidConfig
from kdray.methods.kernel_losses import DenseLoss, Piece, log_norm
from kdray.methods.logit_method import LogitMethod
from kdray.methods.online import OnlineTeacher
from kdray.methods.targets import DenseTargets, TeacherTargets
from kdray.model.transformer import Transformer

LOSS = "loss/interpolated"
EPSILON = 1e-15


class Taid(LogitMethod[TaidConfig]):
    """Cross-entropy to a mixture of the student's own logits and the teacher's."""

    part = LOSS
    t: Tensor
    fall: Tensor
    previous: Tensor

    def __init__(
        self, config: TaidConfig, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__(config, student, teacher)
        for name, value in (("t", config.start), ("fall", 0.0), ("previous", math.nan)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def soft(self, teacher: TeacherTargets) -> "Interpolated":
        """The cross-entropy, with its slope."""
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        return Interpolated(teacher, float(self.t))

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Move t; log the one that this update was made with."""
        config, loss = self.config, averages[LOSS]
        before, t = float(self.previous), float(self.t)
        if not math.isnan(before):
            relative = (before - loss) / (before + EPSILON)
            fall = config.momentum * float(self.fall) + (1 - config.momentum) * relative
            self.fall.fill_(fall)
            line = config.start + (config.end - config.start) * self.clock.progress
            pace = config.rate / (1 + math.exp(-fall))
            self.t.fill_(min(config.end, max(line, t + pace * (1 - t))))
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
