"""The one loss kernel: output projection, cross-entropy and sparse distillation in one pass.

For N positions with decoder states h, output matrix W and logits z = hW^T it computes

    hard_n = CE of softmax(z_n) to a label, smoothed by ε:  −(1−ε) log q_y − ε/V Σ_v log q_v
    soft_n = KL(p ‖ q) at temperature T over the teacher's top k and one bucket for all the rest:
             Σ_K p log(p/q) + (1−Σ_K p) log((1−Σ_K p)/(1−Σ_K q)); or over all V entries, with
             teacher logits that are projected from its states a block at a time
    total  = Σ_n hard_weight_n·hard_n + soft_weight_n·soft_n

Without its bucket the optimum would scale the teacher's head up by 1/Σ_K p.

The loss is linear in the weights, so its gradient is known in the forward pass: blocks of rows
that fit the cache are projected, turned into their own gradient, and folded into the gradients of
h and W. No [N, V] tensor is ever stored (the idea of Liger Kernel, Hsu et al. 2024, and of Cut
Cross-Entropy, Wijmans et al. 2024, here with sparse soft targets). What smoothing adds is the same
in every column, so it needs no pass over the logits: Σ_v z_v is h·Σ_v W_v.

Products are taken in the precision of `product_dtype`; all between them is float32 at least, which
on a CPU is also the faster one: it works on bfloat16 by way of float32, pass after pass.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kdray.methods.targets import DenseTargets, SoftTargets, TeacherTargets, row_blocks
from kdray.model.precision import exact, no_rounding, product_dtype, widened

FLOOR = -80.0  # log of the least probability; e^-80 is near the least normal fp32 number
_LEAST = 1e-30  # probabilities below it have lost digits, or all of them


class TokenLosses(NamedTuple):
    """The weighted sum, which has a gradient, and the loss at each position, which has none."""

    total: Tensor
    hard_N: Tensor
    soft_N: Tensor


def token_losses(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    *,
    labels_N: Tensor | None = None,
    hard_weight_N: Tensor | None = None,
    label_smoothing: float = 0.0,
    soft: TeacherTargets | None = None,
    soft_weight_N: Tensor | None = None,
) -> TokenLosses:
    """See the module. Gradients flow to the states, the matrix and both weights.

    Weights default to one. A part without labels or soft targets is zero.
    """
    ones = torch.ones(hidden_ND.size(0), dtype=exact(hidden_ND.dtype), device=hidden_ND.device)
    return TokenLosses(
        *_Kernel.apply(  # type: ignore[no-untyped-call]
            hidden_ND,
            weight_VD,
            ones if hard_weight_N is None else hard_weight_N,
            ones if soft_weight_N is None else soft_weight_N,
            labels_N,
            label_smoothing,
            soft,
        )
    )


class _Hard(NamedTuple):
    """Labels and weights of a block of n positions."""

    labels: Tensor  # [n]
    weight: Tensor  # [n]
    smoothing: float
    mean_z: Tensor  # of all V logits, [n]


class _Soft(NamedTuple):
    """Teacher distributions and weights of a block of n positions."""

    targets: TeacherTargets
    weight: Tensor  # [n]


class _Kernel(torch.autograd.Function):
    """All of it: the forward pass leaves the gradients behind, the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch's context)
        hidden: Tensor,
        weight: Tensor,
        hard_weight: Tensor,
        soft_weight: Tensor,
        labels: Tensor | None,
        smoothing: float,
        soft: TeacherTargets | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = product_dtype(weight)
        states, matrix = hidden.to(dtype), weight.to(dtype)
        sums = _Sums.zeros(states, matrix)
        mean_z = torch.zeros_like(sums.hard_loss)
        if labels is not None and smoothing:
            mean_z = sums.smooth(states, matrix, hard_weight * smoothing)
        soft = None if soft is None else soft.narrowed()
        for part in row_blocks(len(states), vocabulary=len(matrix)):
            hard = None
            if labels is not None:
                hard = _Hard(labels[part], hard_weight[part], smoothing, mean_z[part])
            gradient, sums.hard_loss[part], sums.soft_loss[part] = _block(
                widened(states[part] @ matrix.T),
                hard,
                None if soft is None else _Soft(soft.part(part), soft_weight[part]),
            )
            sums.add(gradient.to(dtype), states, matrix, part)
        grad_hidden, grad_weight = sums.hidden.to(hidden.dtype), sums.weight.to(weight.dtype)
        ctx.save_for_backward(grad_hidden, grad_weight, sums.hard_loss, sums.soft_loss)
        ctx.mark_non_differentiable(sums.hard_loss, sums.soft_loss)
        total = (hard_weight * sums.hard_loss).sum() + (soft_weight * sums.soft_loss).sum()
        return total, sums.hard_loss, sums.soft_loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        grad_hidden, grad_weight, hard_loss, soft_loss = ctx.saved_tensors
        return (
            grad_hidden * upstream,
            grad_weight * upstream,
            hard_loss * upstream,
            soft_loss * upstream,
            None,
            None,
            None,
        )


class _Sums(NamedTuple):
    """What the blocks leave behind, in float32 at least."""

    hidden: Tensor  # gradient of the states, [N, D]
    weight: Tensor  # gradient of the matrix, [V, D]
    hard_loss: Tensor  # [N]
    soft_loss: Tensor  # [N]

    @classmethod
    def zeros(cls, states: Tensor, matrix: Tensor) -> "_Sums":
        """Before the first block."""
        dtype = exact(states.dtype)
        return cls(
            torch.zeros_like(states, dtype=dtype),
            torch.zeros_like(matrix, dtype=dtype),
            torch.zeros(len(states), dtype=dtype, device=states.device),
            torch.zeros(len(states), dtype=dtype, device=states.device),
        )

    def add(self, gradient: Tensor, states: Tensor, matrix: Tensor, part: slice) -> None:
        """Fold in the gradient of a block's logits [n, V]."""
        if gradient.dtype == self.weight.dtype:
            self.hidden[part].addmm_(gradient, matrix)
            self.weight.addmm_(gradient.T, states[part])
        else:
            self.hidden[part].add_(gradient @ matrix)
            self.weight.add_(gradient.T @ states[part])

    def smooth(self, states: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        """Subtract weight_n/V from every column of the logits' gradient. -> mean logits [N]."""
        wide, mean_D = widened(states), matrix.mean(0, dtype=self.weight.dtype)
        self.hidden.addcmul_(weight[:, None], mean_D, value=-1)
        with no_rounding(states.device):
            self.weight.sub_(weight @ wide / len(matrix))
            return wide @ mean_D


def _block(z: Tensor, hard: _Hard | None, soft: _Soft | None) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the weighted sum with respect to logits z, but for smoothing; both losses [n]."""
    if soft is None or soft.targets.temperature == 1.0:
        return _at_one_temperature(z, hard, soft)
    temperature = soft.targets.temperature
    soft = soft._replace(weight=soft.weight / temperature)  # dz/d(logits) = 1/T
    gradient, _, soft_loss = _at_one_temperature(z / temperature, None, soft)
    if hard is None:
        return gradient, torch.zeros_like(soft_loss), soft_loss
    hard_gradient, hard_loss, _ = _at_one_temperature(z, hard, None)
    return gradient.add_(hard_gradient), hard_loss, soft_loss


def _at_one_temperature(
    z: Tensor, hard: _Hard | None, soft: _Soft | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_block`, both parts from one softmax."""
    q = z.softmax(1)
    hard_loss = soft_loss = z.new_zeros(len(z))
    scale = hard_loss if hard is None else hard.weight  # of q in the gradient
    if hard is not None:
        eps = hard.smoothing
        label_z = z.gather(1, hard.labels[:, None]).squeeze(1)
        hard_loss = _log_norm(z, q, hard.labels) - (1 - eps) * label_z - eps * hard.mean_z
    if soft is None:
        q.mul_(scale[:, None])
    elif isinstance(soft.targets, SoftTargets):
        soft_loss = _sparse(z, q, scale, soft.targets, soft.weight)
    else:
        soft_loss = _dense(z, q, scale, soft.targets, soft.weight)
    if hard is not None:
        q.scatter_add_(1, hard.labels[:, None], (hard.weight * (hard.smoothing - 1))[:, None])
    return q, hard_loss, soft_loss


def _log_norm(z: Tensor, q: Tensor, entry: Tensor) -> Tensor:
    """Log Σ exp(z) from one entry of each row, where its probability has all its digits. -> [n].

    Each part of the loss takes an entry of its own, so that it has the same bits whether or not
    the other part is there.
    """
    entry = entry[:, None]
    probability = q.gather(1, entry).squeeze(1)
    log_norm = z.gather(1, entry).squeeze(1) - probability.log()
    lost = probability < _LEAST
    if lost.any():
        log_norm[lost] = z[lost].logsumexp(1)
    return log_norm


def _sparse(z: Tensor, q: Tensor, scale: Tensor, targets: SoftTargets, weight: Tensor) -> Tensor:
    """Turn probabilities q into the gradient of kept entries and one bucket. -> losses [n]."""
    ids, log_tail = targets.ids_NK, targets.log_tail_N
    log_q = z.gather(1, ids) - _log_norm(z, q, ids[:, 0])[:, None]
    kept, p = q.gather(1, ids), targets.logp_NK.exp()
    q.scatter_(1, ids, 0.0)
    tail = _summed_above_floor(q, ids)  # 1 − Σ kept would cancel
    log_tail_q = tail.log()
    excess = torch.where(log_tail.isinf(), 0.0, (log_tail - log_tail_q).exp())
    q.mul_((scale + weight * (1 - excess))[:, None])
    kept.mul_((scale + weight)[:, None]).addcmul_(p, weight[:, None], value=-1)
    q.scatter_(1, ids, kept)
    return _kl(targets, log_q, log_tail_q)


def _summed_above_floor(q: Tensor, ids: Tensor) -> Tensor:
    """Sums of the rows of q, where the entries at `ids` are zero. -> [n].

    Where a student is so sure of those that nothing is left, all others are raised to the floor:
    so it still feels the bucket.
    """
    tail = q.sum(1)
    lost = tail < _LEAST
    if lost.any():
        q[lost] = q[lost].clamp_(min=math.exp(FLOOR)).scatter_(1, ids[lost], 0.0)
        tail[lost] = q[lost].sum(1)
    return tail


def _dense(z: Tensor, q: Tensor, scale: Tensor, targets: DenseTargets, weight: Tensor) -> Tensor:
    """Turn probabilities q into the gradient over whole distributions. -> losses [n].

    Σ p (log p − log q) is Σ p (z' − z) and the difference of the normalisers, z' the teacher's.
    """
    any_entry = torch.zeros(len(z), dtype=torch.long, device=z.device)
    teacher = targets.raised_logits()
    p = teacher.softmax(1)
    norms = _log_norm(z, q, any_entry) - _log_norm(teacher, p, any_entry)
    q.mul_((scale + weight)[:, None]).addcmul_(p, weight[:, None], value=-1)
    return teacher.sub_(z).mul_(p).sum(1) + norms


def _kl(targets: SoftTargets, log_q: Tensor, log_tail_q: Tensor) -> Tensor:
    """Σ_K p (log p − log q) and the same for the bucket; 0·log 0 is 0. -> [n]."""
    logp, log_tail = targets.logp_NK, targets.log_tail_N
    kept = torch.where(logp.isinf(), 0.0, logp.exp() * (logp - log_q)).sum(1)
    bucket = log_tail.exp() * (log_tail - log_tail_q)
    return kept + torch.where(log_tail.isinf(), 0.0, bucket)
