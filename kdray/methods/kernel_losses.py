"""What the loss kernel does with some rows of logits: a loss for each, and its gradient.

N positions, of which n are the `rows`; V vocabulary, K kept entries. z are logits [n, V] over the
temperature, q their softmax. The gradient is made in the memory of q.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kdray.methods.measures import FLOOR, Measure, Pair, forward
from kdray.methods.targets import SoftTargets, TeacherTargets
from kdray.model.precision import no_rounding

_LEAST = 1e-30  # probabilities below it have lost digits, or all of them


class HardLoss:
    """Cross-entropy to a label, smoothed by ε.

    mean_z_N: the mean of all V logits; None without smoothing.
    """

    def __init__(
        self, labels_N: Tensor, weight_N: Tensor, smoothing: float, mean_z_N: Tensor | None
    ) -> None:
        self.labels_N, self.weight_N = labels_N, weight_N
        self.smoothing, self.mean_z_N = smoothing, mean_z_N
        self.at_label_N = weight_N * (smoothing - 1)

    def losses(self, z: Tensor, q: Tensor, rows: slice) -> Tensor:
        """At the rows. -> [n]."""
        label = self.labels_N[rows, None]
        label_z = z.gather(1, label).squeeze(1)
        loss = _log_norm(z, label_z, q.gather(1, label).squeeze(1)) - (1 - self.smoothing) * label_z
        if self.mean_z_N is not None:
            loss -= self.smoothing * self.mean_z_N[rows]
        return loss

    def add_label_term(self, q: Tensor, rows: slice) -> None:
        """What the gradient has at the label, beside q."""
        q.scatter_add_(1, self.labels_N[rows, None], self.at_label_N[rows, None])


class Piece(NamedTuple):
    """Some rows of logits and all that a loss needs there. z, q and the teacher's are used up.

    z: logits over T. q: their softmax, or zero if no loss reads it. scale: of another loss, [n].
    weight: [n]. teacher_z: rows of what `SoftLoss.teacher` gave, asked for more rows at once.
    """

    z: Tensor
    q: Tensor
    scale: Tensor
    weight: Tensor
    rows: slice
    teacher_z: Tensor | None

    @property
    def teacher(self) -> Tensor:
        """The teacher's logits [n, V], for losses that have some."""
        assert self.teacher_z is not None, "a loss of whole distributions gives logits"
        return self.teacher_z


class SoftLoss(ABC):
    """A loss of what a teacher says, at the temperature of its distributions.

    reads_softmax: whether `fold` is to be given the student's probabilities.
    in_pieces: whether `fold` goes over all entries so often that it gains from few rows at a time.
    """

    reads_softmax = True
    in_pieces = False

    def __init__(self, targets: TeacherTargets) -> None:
        self.targets, self.temperature = targets, targets.temperature

    def teacher(self, rows: slice) -> Tensor | None:
        """The teacher's logits over T [n, V] in memory of their own; None of sparse ones."""
        if isinstance(self.targets, SoftTargets):
            return None
        return self.targets.part(rows).scaled_logits()

    @abstractmethod
    def fold(self, at: Piece) -> Tensor:
        """Turn q into scale·q + weight·∂loss/∂z. -> the losses, [n]."""


def soft_loss(targets: TeacherTargets, measure: Measure = forward) -> SoftLoss:
    """A divergence from a teacher's distributions."""
    if isinstance(targets, SoftTargets):
        return _Sparse(targets, measure)
    if measure is forward:
        return _DenseForward(targets)
    return _Dense(targets, measure)


class _Sparse(SoftLoss):
    """Of kept entries and one bucket."""

    def __init__(self, targets: SoftTargets, measure: Measure) -> None:
        super().__init__(targets)
        self.ids_NK, self.measure = targets.ids_NK, measure
        log_p = torch.cat((targets.logp_NK, targets.log_tail_N[:, None]), dim=1)
        self.p_NE = log_p.exp()
        self.log_p_NE = log_p.masked_fill_(log_p.isneginf(), FLOOR)

    def fold(self, at: Piece) -> Tensor:
        """The bucket's slope lies on all entries that are not kept, by their share of it."""
        z, q, scale, weight, rows = at.z, at.q, at.scale, at.weight, at.rows
        ids = self.ids_NK[rows]
        kept_z, kept_q = z.gather(1, ids), q.gather(1, ids)
        norm = _log_norm(z, kept_z[:, 0], kept_q[:, 0])
        q.scatter_(1, ids, 0.0)
        tail_q = _floored_sum(q, ids)[:, None]  # 1 − Σ kept would cancel
        log_tail_q = tail_q.log().clamp_min_(FLOOR)
        measured = self.measure(
            Pair(
                self.p_NE[rows],
                self.log_p_NE[rows],
                torch.cat((kept_q, tail_q), dim=1),
                torch.cat((kept_z.sub_(norm[:, None]), log_tail_q), dim=1),
            )
        )
        own = torch.addcmul(scale, weight, measured.slope.sum(1), value=-1)[:, None]
        pull = measured.slope * weight[:, None]
        share = pull[:, -1:] / tail_q.clamp_min_(torch.finfo(q.dtype).tiny)
        q.mul_(share.add_(own))
        q.scatter_(1, ids, torch.addcmul(pull[:, :-1], kept_q, own))
        return measured.value


LogitLoss = Callable[[Tensor, Tensor | SoftTargets], Tensor]
"""The student's logits over T, [n, V], and the teacher's logits over T there, [n, V], or what is
stored of its sparse distributions at T. -> the loss at each of the n positions, [n]."""


class AutogradLoss(SoftLoss):
    """Any loss of logits, whose gradient is found by autograd, a few rows at a time."""

    reads_softmax = False
    in_pieces = True

    def __init__(self, targets: TeacherTargets, loss: LogitLoss) -> None:
        super().__init__(targets)
        self.loss = loss

    def fold(self, at: Piece) -> Tensor:
        """See SoftLoss.

        Raises:
            ValueError: the loss does not give one number for each row, with its gradient.
        """
        targets = self.targets
        teacher = targets.part(at.rows) if isinstance(targets, SoftTargets) else at.teacher
        with torch.enable_grad(), no_rounding(at.z.device):
            z = at.z.detach().requires_grad_()
            losses = self.loss(z, teacher)
            if not (isinstance(losses, Tensor) and losses.requires_grad):
                what = losses.dtype if isinstance(losses, Tensor) else type(losses).__name__
                raise ValueError(
                    f"{self.loss} gave losses ({what}) that have no gradient; give a tensor of "
                    "floats that is worked out from the student's logits, without detaching them"
                )
            if losses.shape != z.shape[:1]:
                raise ValueError(
                    f"{self.loss} gave losses of shape {tuple(losses.shape)} for logits of shape "
                    f"{tuple(z.shape)}; give one for each row, and leave their sum to the kernel"
                )
            (slope,) = torch.autograd.grad(losses.sum(), z)
        at.q.mul_(at.scale[:, None]).addcmul_(slope, at.weight[:, None])
        return losses.detach()


class _Dense(SoftLoss):
    """Any divergence from whole distributions."""

    in_pieces = True

    def __init__(self, targets: TeacherTargets, measure: Measure) -> None:
        super().__init__(targets)
        self.measure = measure

    def fold(self, at: Piece) -> Tensor:
        """See SoftLoss."""
        z, q, teacher = at.z, at.q, at.teacher
        p = teacher.softmax(1)
        log_p = teacher.sub_(log_norm(teacher, p)[:, None])
        log_q = z.sub_(log_norm(z, q)[:, None])
        measured = self.measure(Pair(p, log_p, q, log_q))
        own = torch.addcmul(at.scale, at.weight, measured.slope.sum(1), value=-1)
        q.mul_(own[:, None]).addcmul_(measured.slope, at.weight[:, None])
        return measured.value


class _DenseForward(SoftLoss):
    """Forward KL, which needs no logarithm of any entry."""

    def fold(self, at: Piece) -> Tensor:
        """See SoftLoss."""
        return fold_forward(at, at.teacher.softmax(1), at.scale)


def fold_forward(at: Piece, p: Tensor, scale: Tensor) -> Tensor:
    """KL(p ‖ q), p the softmax of the teacher's logits z', with a scale of the caller's. -> [n].

    Σ p (log p − log q) = Σ p (z' − z) + log Σ exp z − log Σ exp z'.
    """
    z, q, teacher = at.z, at.q, at.teacher
    norms = log_norm(z, q) - log_norm(teacher, p)
    q.mul_((scale + at.weight)[:, None]).addcmul_(p, at.weight[:, None], value=-1)
    return teacher.sub_(z).mul_(p).sum(1) + norms


def log_norm(z: Tensor, q: Tensor) -> Tensor:
    """Log Σ exp(z) of rows whose softmax q is known, to about 1e-5. -> [n].

    Where the likeliest entry is looked for instead, that takes two passes over all of them.
    """
    return _log_norm(z, z[:, -1], q[:, -1])


def _log_norm(z: Tensor, entry_z: Tensor, entry_q: Tensor) -> Tensor:
    """Log Σ exp(z) from one entry of each row, where its probability has all its digits. -> [n].

    Each loss takes an entry of its own, so that it has the same bits whether or not another is
    there.
    """
    norm = entry_z - entry_q.log()
    lost = entry_q < _LEAST
    if lost.any():
        norm[lost] = z[lost].logsumexp(1)
    return norm


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
