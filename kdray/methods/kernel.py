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

Products are taken in the precision of `product_dtype`; in bfloat16 so are logits and their
gradient, while losses and the sums over blocks stay in float32.
"""

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
        for part in row_blocks(len(states), vocabulary=len(matrix), itemsize=dtype.itemsize):
            hard = None
            if labels is not None:
                hard = _Hard(labels[part], hard_weight[part], smoothing, mean_z[part])
            gradient, sums.hard_loss[part], sums.soft_loss[part] = _block(
                states[part] @ matrix.T,
                hard,
                None if soft is None else _Soft(soft.part(part), soft_weight[part]),
            )
            sums.add(gradient, states, matrix, part)
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
    hard_loss = soft_loss = torch.zeros(len(z), dtype=exact(z.dtype), device=z.device)
    scale = torch.zeros_like(hard_loss)  # of q in the gradient
    if hard is not None:
        eps = hard.smoothing
        log_norm = _log_norm(z, q, hard.labels)
        hard_loss = log_norm - (1 - eps) * _at(z, hard.labels) - eps * hard.mean_z
        scale = hard.weight
    if soft is None:
        _scale(q, scale)
    elif isinstance(soft.targets, SoftTargets):
        soft_loss = _sparse(z, q, scale, soft.targets, soft.weight)
    else:
        soft_loss = _dense(z, q, scale, soft.targets, soft.weight)
    if hard is not None:
        at_label = _at(q, hard.labels) + hard.weight * (hard.smoothing - 1)
        _put(q, hard.labels[:, None], at_label[:, None])
    return q, hard_loss, soft_loss


def _log_norm(z: Tensor, q: Tensor, entry: Tensor) -> Tensor:
    """Log Σ exp(z) from one entry of each row, where its probability has all its digits. -> [n].

    Each part of the loss takes an entry of its own, so that it has the same bits whether or not
    the other part is there.
    """
    probability = _at(q, entry)
    log_norm = _at(z, entry) - probability.log()
    lost = torch.nonzero(probability < _LEAST).squeeze(1)
    log_norm[lost] = widened(z[lost]).logsumexp(1)
    return log_norm


def _sparse(z: Tensor, q: Tensor, scale: Tensor, targets: SoftTargets, weight: Tensor) -> Tensor:
    """Turn probabilities q into the gradient of kept entries and one bucket. -> losses [n]."""
    ids, log_tail = targets.ids_NK, targets.log_tail_N
    log_q = widened(z.gather(1, ids)) - _log_norm(z, q, ids[:, 0])[:, None]
    # The floor keeps the bucket of a student that is sure of the kept entries above zero.
    q.clamp_(min=torch.tensor(FLOOR).exp().item())
    kept = widened(q.gather(1, ids)) * (scale + weight)[:, None]
    kept -= weight[:, None] * targets.logp_NK.exp()
    _put(q, ids, torch.zeros_like(kept))
    tail = q.sum(1, dtype=exact(q.dtype))  # 1 − kept would cancel
    log_tail_q = tail.log()
    excess = torch.where(log_tail.isinf(), 0.0, (log_tail - log_tail_q).exp())
    _scale(q, scale + weight * (1 - excess))
    _put(q, ids, kept)
    return _kl(targets, log_q, log_tail_q)


def _dense(z: Tensor, q: Tensor, scale: Tensor, targets: DenseTargets, weight: Tensor) -> Tensor:
    """Turn probabilities q into the gradient over whole distributions. -> losses [n]."""
    log_norm = _log_norm(z, q, z.argmax(1))
    log_p = targets.log_probs()
    p = log_p.exp()
    gap = torch.where(p > 0, p * log_p.sub_(z), 0.0).sum(1)  # Σ p (log p − z)
    _scale(q, scale + weight).sub_(p.mul_(weight[:, None]))
    return gap + log_norm  # Σ p is 1


def _kl(targets: SoftTargets, log_q: Tensor, log_tail_q: Tensor) -> Tensor:
    """Σ_K p (log p − log q) and the same for the bucket; 0·log 0 is 0. -> [n]."""
    logp, log_tail = targets.logp_NK, targets.log_tail_N
    kept = torch.where(logp.isinf(), 0.0, logp.exp() * (logp - log_q)).sum(1)
    bucket = log_tail.exp() * (log_tail - log_tail_q)
    return kept + torch.where(log_tail.isinf(), 0.0, bucket)


def _scale(q: Tensor, factors: Tensor) -> Tensor:
    """Multiply each row, in place and in its own dtype: a mixed product would copy the block."""
    return q.mul_(factors.to(q.dtype)[:, None])


def _put(q: Tensor, ids: Tensor, values: Tensor) -> None:
    """q[n, ids[n, k]] = values[n, k]. Scatter would widen the whole block where it is bfloat16."""
    starts = torch.arange(0, q.numel(), q.size(1), device=q.device)
    q.view(-1).index_copy_(0, (ids + starts[:, None]).view(-1), values.to(q.dtype).view(-1))


def _at(values: Tensor, entries: Tensor) -> Tensor:
    """One entry of each row. [n, V], [n] -> [n]."""
    return widened(values.gather(1, entries[:, None]).squeeze(1))
