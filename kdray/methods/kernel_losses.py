"""What the loss kernel does with a block of logits: a loss for each position, and its gradient.

N positions, of which a block is the `rows`, n of them; V vocabulary, K kept entries. z are logits
[n, V] over the temperature, q their softmax. The gradient is made in the memory of q.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from kdray.methods.targets import DenseTargets, SoftTargets, TeacherTargets

FLOOR = -80.0  # log of the least probability; e^-80 is near the least normal fp32 number
_LEAST = 1e-30  # probabilities below it have lost digits, or all of them


class HardLoss:
    """Cross-entropy to a label, smoothed by ε. Losses are written to `loss_N`.

    mean_z_N: the mean of all V logits; None without smoothing.
    """

    def __init__(
        self,
        loss_N: Tensor,
        labels_N: Tensor,
        weight_N: Tensor,
        smoothing: float,
        mean_z_N: Tensor | None,
    ) -> None:
        self.loss_N, self.labels_N, self.weight_N = loss_N, labels_N, weight_N
        self.smoothing, self.mean_z_N = smoothing, mean_z_N
        self.at_label_N = weight_N * (smoothing - 1)

    def measure(self, z: Tensor, q: Tensor, rows: slice) -> Tensor:
        """Note the losses. -> the factor of q in the gradient, [n]."""
        label = self.labels_N[rows, None]
        label_z = z.gather(1, label).squeeze(1)
        loss = _log_norm(z, label_z, q.gather(1, label).squeeze(1)) - (1 - self.smoothing) * label_z
        if self.mean_z_N is not None:
            loss -= self.smoothing * self.mean_z_N[rows]
        self.loss_N[rows] = loss
        return self.weight_N[rows]

    def add_label_term(self, q: Tensor, rows: slice) -> None:
        """What the gradient has at the label, beside q."""
        q.scatter_add_(1, self.labels_N[rows, None], self.at_label_N[rows, None])


class SoftLoss(Protocol):
    """KL from the teacher at one temperature."""

    temperature: float

    def fold(self, z: Tensor, q: Tensor, scale: Tensor, rows: slice) -> None:
        """Turn q into the gradient, of which `scale`·q [n] belongs to another loss."""

    def finish(self) -> None:
        """See that the losses are written, after the last block."""


def soft_loss(loss_N: Tensor, targets: TeacherTargets, weight_N: Tensor) -> SoftLoss:
    """The loss of a teacher's distributions, which is written to `loss_N`."""
    weight_N = weight_N / targets.temperature  # dz/d(logits) = 1/T
    if isinstance(targets, DenseTargets):
        return _Dense(loss_N, targets, weight_N)
    return _Sparse(loss_N, targets, weight_N)


class _Sparse:
    """Kept entries and one bucket. Losses are summed at the end, over all positions at once."""

    def __init__(self, loss_N: Tensor, targets: SoftTargets, weight_N: Tensor) -> None:
        self.loss_N, self.targets, self.weight_N = loss_N, targets, weight_N
        self.temperature = targets.temperature
        self.p_NK = targets.logp_NK.exp()
        self.pull_NK = weight_N[:, None] * self.p_NK
        self.log_q_NK = torch.empty_like(self.p_NK, dtype=loss_N.dtype)
        self.log_tail_q_N = torch.empty_like(loss_N)

    def fold(self, z: Tensor, q: Tensor, scale: Tensor, rows: slice) -> None:
        """The bucket's gradient lies on all entries that are not kept, by their share of it."""
        ids, log_tail, weight = (
            self.targets.ids_NK[rows],
            self.targets.log_tail_N[rows],
            self.weight_N[rows],
        )
        kept_z, kept_q = z.gather(1, ids), q.gather(1, ids)
        log_norm = _log_norm(z, kept_z[:, 0], kept_q[:, 0])
        torch.sub(kept_z, log_norm[:, None], out=self.log_q_NK[rows])
        q.scatter_(1, ids, 0.0)
        log_tail_q = _floored_sum(q, ids).log()  # 1 − Σ kept would cancel
        self.log_tail_q_N[rows] = log_tail_q
        excess = torch.where(log_tail.isinf(), 0.0, (log_tail - log_tail_q).exp())
        q.mul_((scale + weight * (1 - excess))[:, None])
        kept_q.mul_((scale + weight)[:, None]).sub_(self.pull_NK[rows])
        q.scatter_(1, ids, kept_q)

    def finish(self) -> None:
        """Σ_K p (log p − log q) and the same for the bucket; 0·log 0 is 0."""
        logp, log_tail = self.targets.logp_NK, self.targets.log_tail_N
        kept = torch.where(logp.isinf(), 0.0, self.p_NK * (logp - self.log_q_NK)).sum(1)
        bucket = log_tail.exp() * (log_tail - self.log_tail_q_N)
        self.loss_N.copy_(kept + torch.where(log_tail.isinf(), 0.0, bucket))


class _Dense:
    """Whole distributions, made from the teacher's states block by block."""

    def __init__(self, loss_N: Tensor, targets: DenseTargets, weight_N: Tensor) -> None:
        self.loss_N, self.targets, self.weight_N = loss_N, targets, weight_N
        self.temperature = targets.temperature

    def fold(self, z: Tensor, q: Tensor, scale: Tensor, rows: slice) -> None:
        """Σ p (log p − log q) = Σ p (z' − z) + log Σ exp z − log Σ exp z', z' the teacher's."""
        weight = self.weight_N[rows]
        teacher = self.targets.part(rows).scaled_logits()
        p = teacher.softmax(1)
        norms = _log_norm(z, z.amax(1), q.amax(1)) - _log_norm(teacher, teacher.amax(1), p.amax(1))
        q.mul_((scale + weight)[:, None]).addcmul_(p, weight[:, None], value=-1)
        self.loss_N[rows] = teacher.sub_(z).mul_(p).sum(1) + norms

    def finish(self) -> None:
        """They are written already."""


def _log_norm(z: Tensor, entry_z: Tensor, entry_q: Tensor) -> Tensor:
    """Log Σ exp(z) from one entry of each row, where its probability has all its digits. -> [n].

    Each loss takes an entry of its own, so that it has the same bits whether or not another is
    there.
    """
    log_norm = entry_z - entry_q.log()
    lost = entry_q < _LEAST
    if lost.any():
        log_norm[lost] = z[lost].logsumexp(1)
    return log_norm


def _floored_sum(q: Tensor, ids: Tensor) -> Tensor:
    """Sums of the rows of q, where the entries at `ids` are zero. -> [n].

    Where a student is so sure of those that nothing is left, the others are raised to the floor, in
    q too: so it still feels the bucket.
    """
    tail = q.sum(1)
    lost = tail < _LEAST
    if lost.any():
        q[lost] = q[lost].clamp_(min=math.exp(FLOOR)).scatter_(1, ids[lost], 0.0)
        tail[lost] = q[lost].sum(1)
    return tail
