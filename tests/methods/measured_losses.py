"""The kernel with any divergence in it, as `methods.divergence` calls it."""

from typing import get_args

from kdray.config.methods.divergence import DivergenceName
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import FLOOR, Pair

NAMES = get_args(DivergenceName)


def measured_losses(hidden, weight, measure, *, teacher, labels_N, alpha=1.0, label_smoothing=0.0):
    """(1−α)·CE(labels) + α·D(teacher, student), summed over positions; both at each position."""
    ones = hidden.new_ones(len(hidden))
    return token_losses(
        hidden,
        weight,
        labels_N=labels_N,
        hard_weight_N=(1 - alpha) * ones,
        label_smoothing=label_smoothing,
        soft=soft_loss(teacher, measure),
        soft_weight_N=alpha * ones,
    )


def pair(log_p, log_q):
    """Of log-probabilities, where −∞ is at the floor as it is among stored entries."""
    finite = (log.masked_fill(log.isneginf(), FLOOR) for log in (log_p, log_q))
    return Pair(log_p.exp(), next(finite), log_q.exp(), next(finite))


def slope_in_logits(found, q):
    """∂D/∂z of what a divergence says of its slope at the entries. -> [n, E]."""
    return found.slope - q * found.slope.sum(1, keepdim=True)
