"""The one loss kernel: output projection, cross-entropy and distillation in one pass.

For N positions with decoder states h, output matrix W and logits z = hW^T it computes

    hard_n = CE of softmax(z_n) to a label, smoothed by ε:  −(1−ε) log q_y − ε/V Σ_v log q_v
    soft_n = what a method learns from its teacher's distribution: any `kernel_losses.SoftLoss`,
             such as KL(p ‖ q) at temperature T
    total  = Σ_n hard_weight_n·hard_n + soft_weight_n·soft_n

A distribution is the teacher's top k and one bucket for all the rest, without which the optimum
would scale the head up by 1/Σ_K p; or all V entries, with teacher logits that are projected from
its states a block at a time.

The loss is linear in the weights, so its gradient is known in the forward pass: blocks of rows
that fit the cache are projected, turned into their own gradient, and folded into the gradients of
h and W. No [N, V] tensor is ever stored (the idea of Liger Kernel, Hsu et al. 2024, and of Cut
Cross-Entropy, Wijmans et al. 2024, here with soft targets). Products want blocks of hundreds of
rows; a loss that goes over the same numbers many times between them takes pieces of a block, which
fit a nearer cache. What smoothing adds is the same in every column, so it needs no pass over the
logits: Σ_v z_v is h·Σ_v W_v.

Products are taken in the precision of `product_dtype`; all between them is float32 at least. On a
CPU that is also faster, because it converts bfloat16 to float32 and back in every pass.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kdray.methods.kernel_losses import HardLoss, Piece, SoftLoss
from kdray.methods.targets import pieces, row_blocks
from kdray.model.precision import exact, no_rounding, product_dtype, widened


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
    hard_weight_N: Tensor | float = 1.0,
    label_smoothing: float = 0.0,
    soft: SoftLoss | None = None,
    soft_weight_N: Tensor | float = 1.0,
) -> TokenLosses:
    """See the module. Gradients flow to the states, the matrix and both weights.

    A weight may be one number for all positions. A part without labels or soft loss is zero.
    """
    ones = torch.ones(hidden_ND.size(0), dtype=exact(hidden_ND.dtype), device=hidden_ND.device)
    return TokenLosses(
        *_Kernel.apply(  # type: ignore[no-untyped-call]
            hidden_ND,
            weight_VD,
            hard_weight_N if isinstance(hard_weight_N, Tensor) else hard_weight_N * ones,
            soft_weight_N if isinstance(soft_weight_N, Tensor) else soft_weight_N * ones,
            labels_N,
            label_smoothing,
            soft,
        )
    )


@torch.no_grad()
def label_log_probs(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Log-probability of each label, without gradient. -> [N]."""
    dtype = product_dtype(weight_VD)
    states_ND, matrix_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
    device = hidden_ND.device
    log_probs = torch.empty(len(states_ND), dtype=exact(dtype), device=device)
    for rows in row_blocks(len(states_ND), vocabulary=len(matrix_VD), device=device):
        logits = widened(states_ND[rows] @ matrix_VD.T)
        label = logits.gather(1, labels_N[rows, None]).squeeze(1)
        log_probs[rows] = label - logits.logsumexp(1)
    return log_probs


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
        soft: SoftLoss | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted sum, and both losses at each position [N]."""
        dtype = product_dtype(weight)
        states, matrix = hidden.to(dtype), weight.to(dtype)
        sums = _Sums.zeros(states, matrix)
        hard = None
        if labels is not None:
            mean_z = sums.smooth(states, matrix, hard_weight * smoothing) if smoothing else None
            hard = HardLoss(labels, hard_weight, smoothing, mean_z)
        block = _Block(hard, soft, soft_weight, sums)
        for rows in row_blocks(len(states), vocabulary=len(matrix), device=states.device):
            gradient = block.gradient(widened(states[rows] @ matrix.T), rows, dtype=dtype)
            sums.add(gradient, states, matrix, rows)
        grad_hidden, grad_weight = sums.hidden.to(hidden.dtype), sums.weight.to(weight.dtype)
        ctx.save_for_backward(grad_hidden, grad_weight, sums.hard_loss, sums.soft_loss)
        ctx.mark_non_differentiable(sums.hard_loss, sums.soft_loss)
        total = (hard_weight * sums.hard_loss).sum() + (soft_weight * sums.soft_loss).sum()
        return total, sums.hard_loss, sums.soft_loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Gradients of states and matrix; that of a weight is the loss it weighs."""
        return (*(gradient * upstream for gradient in ctx.saved_tensors), None, None, None)


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

    def add(self, gradient: Tensor, states: Tensor, matrix: Tensor, rows: slice) -> None:
        """Fold in the gradient of a block's logits [n, V]."""
        if gradient.dtype == self.weight.dtype:
            self.hidden[rows].addmm_(gradient, matrix)
            self.weight.addmm_(gradient.T, states[rows])
        else:
            self.hidden[rows].add_(gradient @ matrix)
            self.weight.add_(gradient.T @ states[rows])

    def smooth(self, states: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        """Subtract weight_n/V from every column of the logits' gradient. -> mean logits [N]."""
        wide, mean_D = widened(states), matrix.mean(0, dtype=self.weight.dtype)
        self.hidden.addcmul_(weight[:, None], mean_D, value=-1)
        with no_rounding(states.device):
            self.weight.sub_(weight @ wide / len(matrix))
            return wide @ mean_D


class _Block:
    """Both losses of a block of logits; they are written to the sums."""

    def __init__(
        self, hard: HardLoss | None, soft: SoftLoss | None, soft_weight: Tensor, sums: _Sums
    ) -> None:
        self.hard, self.soft, self.sums = hard, soft, sums
        self.temperature = 1.0 if soft is None else soft.temperature
        self.soft_weight = soft_weight / self.temperature  # dz/d(logits) = 1/T

    def gradient(self, z: Tensor, rows: slice, *, dtype: torch.dtype) -> Tensor:
        """Of the weighted sum with respect to logits z [n, V], but for smoothing; z is used up."""
        teacher = None if self.soft is None else self.soft.teacher(rows)
        parts = [slice(0, len(z))]
        if self.soft is not None and self.soft.in_pieces:
            parts = pieces(len(z), vocabulary=z.size(1), device=z.device)
        if len(parts) == 1:
            return self._piece(z, teacher, rows).to(dtype)
        gradient = z if z.dtype == dtype else torch.empty_like(z, dtype=dtype)
        for part in parts:
            some = None if teacher is None else teacher[part]
            place = slice(rows.start + part.start, rows.start + part.stop)
            gradient[part] = self._piece(z[part], some, place)
        return gradient

    def _piece(self, z: Tensor, teacher: Tensor | None, rows: slice) -> Tensor:
        if self.soft is None or self.temperature == 1.0:
            return self._at_one_temperature(z, teacher, self.hard, self.soft, rows)
        if self.hard is None:
            z.div_(self.temperature)
            return self._at_one_temperature(z, teacher, None, self.soft, rows)
        gradient = self._at_one_temperature(z, None, self.hard, None, rows)
        z.div_(self.temperature)
        return gradient.add_(self._at_one_temperature(z, teacher, None, self.soft, rows))

    def _at_one_temperature(
        self,
        z: Tensor,
        teacher: Tensor | None,
        hard: HardLoss | None,
        soft: SoftLoss | None,
        rows: slice,
    ) -> Tensor:
        """Both parts from one softmax."""
        if hard is None and soft is not None and not soft.reads_softmax:
            q = torch.zeros_like(z)
        else:
            q = z.softmax(1)
        scale = z.new_zeros(len(z))
        if hard is not None:
            self.sums.hard_loss[rows] = hard.losses(z, q, rows)
            scale = hard.weight_N[rows]
        if soft is None:
            q.mul_(scale[:, None])
        else:
            weight = self.soft_weight[rows]
            at = Piece(z, q, scale, weight, rows, teacher)
            self.sums.soft_loss[rows] = soft.fold(at)
        if hard is not None:
            hard.add_label_term(q, rows)
        return q
