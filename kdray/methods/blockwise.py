"""Any loss of whole logits, without whole logits: the general form of the loss kernel.

`kernel` holds cross-entropy and forward KL, whose gradients are written out. Every other loss is
given here as a function of a block of logits; its gradient is taken by autograd within the block
and folded into the gradients of states and output matrix at once, so that memory does not grow
with the number of positions. N positions, n of a block, V vocabulary, D width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kdray.methods.targets import row_blocks
from kdray.model.precision import exact, product_dtype, widened

BlockLosses = Callable[[Tensor, slice], Mapping[str, Tensor]]
"""Logits of a block [n, V] and its place among the N positions -> losses [n] by name."""


class WeightedLosses(NamedTuple):
    """The weighted sum, which has a gradient, and each loss at each position, which has none."""

    total: Tensor
    parts: Mapping[str, Tensor]


def blockwise_losses(
    hidden_ND: Tensor, weight_VD: Tensor, *, losses: BlockLosses, weights: Mapping[str, Tensor]
) -> WeightedLosses:
    """Σ_name Σ_n weights[name]_n · losses(logits)[name]_n.

    Gradients flow to the states, the matrix and the weights [N]. A loss that has no weight is
    measured and not learned.
    """
    names = tuple(weights)
    found: dict[str, Tensor] = {}
    total = _Blockwise.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, losses, names, found, *(weights[name] for name in names)
    )
    return WeightedLosses(total, found)


@torch.no_grad()
def label_log_probs(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Log-probability of each label, without gradient. -> [N]."""
    dtype = product_dtype(weight_VD)
    states_ND, matrix_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
    found = torch.empty(len(states_ND), dtype=exact(dtype), device=hidden_ND.device)
    for rows in row_blocks(len(states_ND), vocabulary=len(matrix_VD)):
        logits = widened(states_ND[rows] @ matrix_VD.T)
        label = logits.gather(1, labels_N[rows, None]).squeeze(1)
        found[rows] = label - logits.logsumexp(1)
    return found


class _Blockwise(torch.autograd.Function):
    """The forward pass leaves the gradients behind, the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch's context)
        hidden: Tensor,
        weight: Tensor,
        losses: BlockLosses,
        names: Sequence[str],
        found: dict[str, Tensor],
        *weights: Tensor,
    ) -> Tensor:
        dtype = product_dtype(weight)
        grad_hidden = torch.zeros_like(hidden, dtype=exact(dtype))
        grad_weight = torch.zeros_like(weight, dtype=exact(dtype))
        blocks: list[Mapping[str, Tensor]] = []
        states_ND, matrix_VD = hidden.to(dtype), weight.to(dtype)
        for rows in row_blocks(hidden.size(0), vocabulary=weight.size(0)):
            states = states_ND[rows]
            logits = widened(states @ matrix_VD.T).requires_grad_()
            with torch.enable_grad():
                block = losses(logits, rows)
                weighted = [
                    (w[rows] * block[name]).sum() for name, w in zip(names, weights, strict=True)
                ]
                (gradient,) = torch.autograd.grad(torch.stack(weighted).sum(), logits)
            gradient = gradient.to(dtype)
            grad_hidden[rows] = gradient @ matrix_VD
            grad_weight.add_(gradient.T @ states)
            blocks.append({name: loss.detach() for name, loss in block.items()})
        found.update({name: torch.cat([block[name] for block in blocks]) for name in blocks[0]})
        of_weights = [found[name] for name in names]
        ctx.save_for_backward(
            grad_hidden.to(hidden.dtype), grad_weight.to(weight.dtype), *of_weights
        )
        total = [(w * loss).sum() for w, loss in zip(weights, of_weights, strict=True)]
        return torch.stack(total).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        grad_hidden, grad_weight, *of_weights = ctx.saved_tensors
        return (
            grad_hidden * upstream,
            grad_weight * upstream,
            None,
            None,
            None,
            *(loss * upstream for loss in of_weights),
        )
