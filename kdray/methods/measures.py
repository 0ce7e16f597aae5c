"""Divergences between teacher and student: how far q is from p at a position.

Forward and reverse KL, Jensen-Shannon and total variation as Wen et al. (2023) use them for
sequences; the skew divergences of Ko et al. (2024); adaptive KL of Wu et al. (2025). With p the
teacher and q the student over E entries, of which one may be a bucket for all the rest:

    forward          KL(p ‖ q)                      reverse       KL(q ‖ p)
    jensen_shannon   β·KL(p ‖ m) + (1−β)·KL(q ‖ m), m = β·p + (1−β)·q, a mixture of probabilities
    total_variation  ½ Σ |p − q|
    skew             KL(p ‖ a·p + (1−a)·q)          skew_reverse  KL(q ‖ (1−a)·p + a·q)
    adaptive         w·KL(p ‖ q) + (1−w)·KL(q ‖ p), w the head's share of Σ |p − q|

Each is given with its slope s = q·∂D/∂q at every entry, where a multiple of q may be left out: the
softmax makes ∂D/∂z = s − q·Σ s of it, in which such a multiple cancels. Each is zero where p = q,
and finite with a finite slope whatever the probabilities, since their logarithms are: 0·log 0 is 0.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kdray.config.methods.divergence import DivergenceName

FLOOR = -80.0  # log of what is ruled out; e^-80 is near the least normal fp32 number
LIKELIEST = 32  # entries among which the head is looked for before all are sorted


class Pair(NamedTuple):
    """Teacher and student at n positions, [n, E] each; the logarithms are finite."""

    p: Tensor
    log_p: Tensor
    q: Tensor
    log_q: Tensor


class Measured(NamedTuple):
    """A divergence at each position [n], and its slope at each entry [n, E]."""

    value: Tensor
    slope: Tensor


def forward(x: Pair) -> Measured:
    """KL(p ‖ q)."""
    return Measured(_kl(x.p, x.log_p, x.log_q).sum(1), -x.p)


def reverse(x: Pair) -> Measured:
    """KL(q ‖ p), with log p floored at −80 nats."""
    kl = _kl(x.q, x.log_q, x.log_p.clamp_min(FLOOR))
    return Measured(kl.sum(1), kl)


def jensen_shannon(x: Pair, *, beta: float) -> Measured:
    """β·KL(p ‖ m) + (1−β)·KL(q ‖ m), m = β·p + (1−β)·q."""
    log_m = _mixture(x.q, x.p, share=beta).log_()
    of_q = _kl(x.q, x.log_q, log_m).mul_(1 - beta)
    return Measured(beta * _kl(x.p, x.log_p, log_m).sum(1) + of_q.sum(1), of_q)


def total_variation(x: Pair) -> Measured:
    """½ Σ |p − q|, with slope ½ q·sign(q − p), which is zero within rounding of p = q."""
    value = (x.q - x.p).abs_().sum(1) / 2
    rounding = 64 * torch.finfo(x.q.dtype).eps
    sign = functional.hardshrink(x.log_q - x.log_p, rounding).sign_()
    return Measured(value, sign.mul_(x.q).div_(2))


def skewed(x: Pair, *, share: float) -> Measured:
    """KL(p ‖ m), m = share·p + (1−share)·q."""
    m = _mixture(x.q, x.p, share=share)
    value = _kl(x.p, x.log_p, m.log()).sum(1)
    return Measured(value, (x.q / m).mul_(x.p).mul_(share - 1))


def skewed_reverse(x: Pair, *, share: float) -> Measured:
    """KL(q ‖ m), m = (1−share)·p + share·q."""
    m = _mixture(x.p, x.q, share=share)
    kl = _kl(x.q, x.log_q, m.log())
    return Measured(kl.sum(1), kl.addcmul_(x.q, x.q / m, value=-share))


def adaptive(x: Pair, *, head: float) -> Measured:
    """Forward KL weighed by the gap in the head, reverse KL by the gap in the tail.

    The head is the teacher's likeliest entries until their mass reaches `head`, the first always
    among them. The weights have no gradient.
    """
    gap = (x.p - x.q).abs()
    of_all = gap.sum(1)
    of_head = _gap_in_head(x.p, gap, head=head)
    weight = (of_head / of_all.clamp_min(torch.finfo(gap.dtype).tiny)).clamp_max_(1.0)
    ratio = x.log_q - x.log_p.clamp_min(FLOOR)
    of_forward = torch.mul(ratio, x.p, out=gap).sum(1).neg_()
    kl = ratio.mul_(x.q)
    value = torch.lerp(kl.sum(1), of_forward, weight)
    own = weight[:, None]
    return Measured(value, kl.mul_(1 - own).addcmul_(x.p, own, value=-1))


Measure = Callable[[Pair], Measured]
"""The divergence at each position, and its slope at each entry."""


def measure_of(
    name: DivergenceName, *, beta: float = 0.5, skew: float = 0.1, head: float = 0.5
) -> Measure:
    """A divergence with its numbers: β of Jensen-Shannon, the skew, the mass of adaptive's head."""
    measures: dict[DivergenceName, Measure] = {
        "forward": forward,
        "reverse": reverse,
        "jensen_shannon": partial(jensen_shannon, beta=beta),
        "total_variation": total_variation,
        "skew": partial(skewed, share=skew),
        "skew_reverse": partial(skewed_reverse, share=skew),
        "adaptive": partial(adaptive, head=head),
    }
    return measures[name]


def _kl(a: Tensor, log_a: Tensor, log_b: Tensor) -> Tensor:
    """a·(log a − log b), not summed. -> [n, E]."""
    return (log_a - log_b).mul_(a)


def _mixture(a: Tensor, b: Tensor, *, share: float) -> Tensor:
    """(1−share)·a + share·b; not quite zero where both are. -> [n, E]."""
    return torch.lerp(a, b, share).clamp_min_(torch.finfo(a.dtype).tiny)


def _gap_in_head(p: Tensor, gap: Tensor, *, head: float) -> Tensor:
    """Σ of the gaps over the head. -> [n]. One entry that is most of p needs no sorting."""
    first = p.amax(1)
    sums = functional.threshold(p, 0.5, 0.0).mul_(gap).sum(1) / first
    alone = (first >= head) & (first > 0.5)
    if not alone.all():
        several = (~alone).nonzero()[:, 0]
        entries = min(LIKELIEST, p.size(1))
        sums[several] = _gap_in_several(p[several], gap[several], head=head, entries=entries)
    return sums


def _gap_in_several(p: Tensor, gap: Tensor, *, head: float, entries: int) -> Tensor:
    """The same by the likeliest entries: so many, or where they are not the head, all. -> [n]."""
    probs, order = p.topk(entries, dim=1)
    before = probs.cumsum(1) - probs
    in_head = before < head
    sums = (gap.gather(1, order) * in_head).sum(1)
    if entries < p.size(1):
        longer = before[:, -1] + probs[:, -1] < head
        if longer.any():
            sums[longer] = _gap_in_several(p[longer], gap[longer], head=head, entries=p.size(1))
    return sums
