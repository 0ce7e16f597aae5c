"""The one loss kernel: output projection, cross-entropy and sparse distillation in one pass.

For N positions with decoder states h, output matrix W and logits z = hW^T it computes

    hard_n = CE of softmax(z_n) to a label, smoothed by ε:  −(1−ε) log q_y − ε/V Σ_v log q_v
    soft_n = KL(p ‖ q) at temperature T over the teacher's top k and one bucket for all the rest:
             Σ_K p log(p/q) + (1−Σ_K p) log((1−Σ_K p)/(1−Σ_K q)); or over all V entries, with
             teacher logits that are projected from its states a block at a time
    total  = Σ_n hard_weight_n·hard_n + soft_weight_n·soft_n

Without its bucket the optimum would scale the teacher's head up by 1/Σ_K p.

The loss is linear in the weights, so its gradient is known in the forward pass: blocks of rows
that fit the cache are projected, turned into their own gradient in place, and folded into the
gradients of h and W. No [N, V] tensor is ever stored (the idea of Liger Kernel, Hsu et al. 2024,
and of Cut Cross-Entropy, Wijmans et al. 2024, here with sparse soft targets).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kdray.methods.targets import DenseTargets, SoftTargets, TeacherTargets, row_blocks

FLOOR = -80.0  # nats under the largest logit; e^-80 is near the least normal fp32 number


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
    ones = hidden_ND.new_ones(hidden_ND.size(0))
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


class _Soft(NamedTuple):
    """Teacher distributions and weights of a block of n positions."""

    targets: TeacherTargets
    weight: Tensor  # [n]


class _Kernel(torch.autograd.Function):
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
        positions, vocabulary = hidden.size(0), weight.size(0)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        hard_loss = hidden.new_zeros(positions)
        soft_loss = hidden.new_zeros(positions)
        buffer: Tensor | None = None
        for part in row_blocks(positions, vocabulary=vocabulary):
            states = hidden[part]
            if buffer is None:
                buffer = hidden.new_empty(states.size(0), vocabulary)
            logits = torch.mm(states, weight.T, out=buffer[: states.size(0)])
            gradient, hard_loss[part], soft_loss[part] = _block(
                logits,
                None if labels is None else _Hard(labels[part], hard_weight[part], smoothing),
                None if soft is None else _Soft(soft.part(part), soft_weight[part]),
            )
            torch.mm(gradient, weight, out=grad_hidden[part])
            grad_weight.addmm_(gradient.T, states)
        ctx.save_for_backward(grad_hidden, grad_weight, hard_loss, soft_loss)
        ctx.mark_non_differentiable(hard_loss, soft_loss)
        total = (hard_weight * hard_loss).sum() + (soft_weight * soft_loss).sum()
        return total, hard_loss, soft_loss

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


def _block(logits: Tensor, hard: _Hard | None, soft: _Soft | None) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the weighted sum with respect to the logits, and both losses at each position.

    Overwrites the logits.
    """
    if soft is None or soft.targets.temperature == 1.0:
        return _at_one_temperature(logits, hard, soft)
    temperature = soft.targets.temperature
    soft = soft._replace(weight=soft.weight / temperature)  # dz/d(logits) = 1/T
    gradient, _, soft_loss = _at_one_temperature(logits / temperature, None, soft)
    if hard is None:
        return gradient, torch.zeros_like(soft_loss), soft_loss
    hard_gradient, hard_loss, _ = _at_one_temperature(logits, hard, None)
    return gradient.add_(hard_gradient), hard_loss, soft_loss


def _at_one_temperature(
    z: Tensor, hard: _Hard | None, soft: _Soft | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_block`, both parts from one softmax. z [n, V] becomes the gradient."""
    hard_loss = soft_loss = z.new_zeros(z.size(0))
    z.sub_(z.amax(1, keepdim=True))
    label_z = None if hard is None else z.gather(1, hard.labels[:, None]).squeeze(1)
    mean_z = z.mean(1) if hard is not None and hard.smoothing else hard_loss
    dense = _Dense.of(soft, z)
    sparse = _Sparse.of(soft, z)
    norm = z.exp_().sum(1)  # the same bits with soft targets and without
    log_norm = norm.log()
    # The gradient is exp(z)·scale, and entries of its own where something is kept or labelled.
    scale = torch.zeros_like(norm)
    if hard is not None and label_z is not None:
        eps = hard.smoothing
        hard_loss = log_norm - (1 - eps) * label_z - eps * mean_z
        scale = hard.weight / norm
    if sparse is not None:
        soft_loss = sparse.gradient(z, norm, log_norm, scale)
    elif dense is not None:
        soft_loss = dense.gradient(z, norm, log_norm, scale)
    else:
        z.mul_(scale[:, None])
    if hard is not None:
        if hard.smoothing:
            z.sub_((hard.weight * hard.smoothing / z.size(1))[:, None])
        z.scatter_add_(1, hard.labels[:, None], (hard.weight * (hard.smoothing - 1))[:, None])
    return z, hard_loss, soft_loss


class _Sparse(NamedTuple):
    """Kept entries and one bucket."""

    targets: SoftTargets
    weight: Tensor  # [n]
    kept_z: Tensor  # [n, K]

    @classmethod
    def of(cls, soft: _Soft | None, z: Tensor) -> "_Sparse | None":
        """See the logits [n, V] before they are overwritten; floors them."""
        if soft is None or not isinstance(soft.targets, SoftTargets):
            return None
        kept_z = z.gather(1, soft.targets.ids_NK)
        # The floor keeps the bucket of a student that is sure of the kept entries above zero.
        z.clamp_(min=FLOOR)
        return cls(soft.targets, soft.weight, kept_z)

    def gradient(self, z: Tensor, norm: Tensor, log_norm: Tensor, scale: Tensor) -> Tensor:
        """Turn exp(z) into the gradient. -> losses [n]."""
        ids, weight = self.targets.ids_NK, self.weight
        entries = z.gather(1, ids)
        tail = z.scatter_(1, ids, 0.0).sum(1)  # norm − kept would cancel
        log_q, log_tail_q = self.kept_z - log_norm[:, None], tail.log() - log_norm
        entries *= (scale + weight / norm)[:, None]
        entries -= weight[:, None] * self.targets.logp_NK.exp()
        log_tail = self.targets.log_tail_N
        excess = torch.where(log_tail.isinf(), 0.0, (log_tail - log_tail_q).exp())
        scale = scale + weight * (1 - excess) / norm
        z.mul_(scale[:, None]).scatter_(1, ids, entries)
        return _kl(self.targets, log_q, log_tail_q)


class _Dense(NamedTuple):
    """Whole distributions."""

    p: Tensor  # [n, V]
    weight: Tensor  # [n]
    gap: Tensor  # Σ p (log p − z), [n]

    @classmethod
    def of(cls, soft: _Soft | None, z: Tensor) -> "_Dense | None":
        """See the logits [n, V] before they are overwritten."""
        if soft is None or not isinstance(soft.targets, DenseTargets):
            return None
        log_p = soft.targets.log_probs()
        p = log_p.exp()
        gap = torch.where(p > 0, p * log_p.sub_(z), 0.0).sum(1)
        return cls(p, soft.weight, gap)

    def gradient(self, z: Tensor, norm: Tensor, log_norm: Tensor, scale: Tensor) -> Tensor:
        """Turn exp(z) into the gradient. -> losses [n]."""
        z.mul_((scale + self.weight / norm)[:, None])
        z.sub_(self.p.mul_(self.weight[:, None]))
        return self.gap + log_norm  # Σ p is 1


def _kl(targets: SoftTargets, log_q: Tensor, log_tail_q: Tensor) -> Tensor:
    """Σ_K p (log p − log q) and the same for the bucket; 0·log 0 is 0. -> [n]."""
    logp, log_tail = targets.logp_NK, targets.log_tail_N
    kept = torch.where(logp.isinf(), 0.0, logp.exp() * (logp - log_q)).sum(1)
    bucket = log_tail.exp() * (log_tail - log_tail_q)
    return kept + torch.where(log_tail.isinf(), 0.0, bucket)
