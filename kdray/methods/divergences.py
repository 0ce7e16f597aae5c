"""Divergences between teacher and student: how far q is from p at a position.

Forward and reverse KL, Jensen-Shannon and total variation as Wen et al. (2023) use them for
sequences; the skew divergences of Ko et al. (2024); adaptive KL of Wu et al. (2024). With p the
teacher and q the student over E entries, of which one may be a bucket for all the rest:

    forward          KL(p ‖ q)                      reverse       KL(q ‖ p)
    jensen_shannon   β·KL(p ‖ m) + (1−β)·KL(q ‖ m), m = β·p + (1−β)·q, a mixture of probabilities
    total_variation  ½ Σ |p − q|
    skew             KL(p ‖ a·p + (1−a)·q)          skew_reverse  KL(q ‖ (1−a)·p + a·q)
    adaptive         w·KL(p ‖ q) + (1−w)·KL(q ‖ p), w the head's share of Σ |p − q|

Each takes log-probabilities [n, E] to a value [n], is zero where p = q, and is finite with finite
gradients where entries are −∞: 0·log 0 is 0, and what one side rules out counts as e^−80 there.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.blockwise import blockwise_losses
from kdray.methods.kernel import TokenLosses, token_losses
from kdray.methods.kernel_losses import FLOOR
from kdray.methods.targets import TeacherTargets
from kdray.model.transformer import Transformer
from kdray.schema import View


def forward(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q). -> [n]."""
    return _kl(log_p, log_q)


def reverse(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q ‖ p), with log p floored at −80 nats. -> [n]."""
    return _kl(log_q, log_p.clamp_min(FLOOR))


def jensen_shannon(log_p: Tensor, log_q: Tensor, *, beta: float) -> Tensor:
    """β·KL(p ‖ m) + (1−β)·KL(q ‖ m), m = β·p + (1−β)·q. -> [n]."""
    log_m = _log_mixture(log_p, log_q, share=beta)
    return beta * _kl(log_p, log_m) + (1 - beta) * _kl(log_q, log_m)


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    """½ Σ |p − q|. -> [n]."""
    return (log_p.exp() - log_q.exp()).abs().sum(1) / 2


def skew(log_p: Tensor, log_q: Tensor, *, share: float) -> Tensor:
    """KL(p ‖ share·p + (1−share)·q). -> [n]."""
    return _kl(log_p, _log_mixture(log_p, log_q, share=share))


def skew_reverse(log_p: Tensor, log_q: Tensor, *, share: float) -> Tensor:
    """KL(q ‖ (1−share)·p + share·q). -> [n]."""
    return _kl(log_q, _log_mixture(log_q, log_p, share=share))


def adaptive(log_p: Tensor, log_q: Tensor, *, head: float) -> Tensor:
    """Forward KL weighed by the gap in the head, reverse KL by the gap in the tail. -> [n].

    The head is the teacher's likeliest entries until their mass reaches `head`, the first always
    among them. The weights have no gradient.
    """
    with torch.no_grad():
        p, order = log_p.exp().sort(1, descending=True)
        gap = (p - log_q.exp().gather(1, order)).abs()
        in_head = torch.ones_like(p, dtype=torch.bool)
        in_head[:, 1:] = p.cumsum(1)[:, :-1] < head
        of_head, of_tail = (gap * in_head).sum(1), (gap * ~in_head).sum(1)
        weight = of_head / (of_head + of_tail).clamp_min(torch.finfo(gap.dtype).tiny)
    return weight * forward(log_p, log_q) + (1 - weight) * reverse(log_p, log_q)


@dataclass(frozen=True, slots=True)
class Measure:
    """One of the divergences, with its numbers: β of Jensen-Shannon, the skew, adaptive's head."""

    name: str
    beta: float = 0.5
    skew: float = 0.1
    head: float = 0.5

    def __call__(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The divergence at each position. -> [n]."""
        match self.name:
            case "forward":
                return forward(log_p, log_q)
            case "reverse":
                return reverse(log_p, log_q)
            case "jensen_shannon":
                return jensen_shannon(log_p, log_q, beta=self.beta)
            case "total_variation":
                return total_variation(log_p, log_q)
            case "skew":
                return skew(log_p, log_q, share=self.skew)
            case "skew_reverse":
                return skew_reverse(log_p, log_q, share=self.skew)
            case "adaptive":
                return adaptive(log_p, log_q, head=self.head)
            case _:
                raise ValueError(f"no divergence is called {self.name!r}")


def measured_losses(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    measure: Measure,
    *,
    teacher: TeacherTargets,
    labels_N: Tensor,
    alpha: float = 1.0,
    label_smoothing: float = 0.0,
) -> TokenLosses:
    """(1−α)·CE(labels) + α·D(teacher, student), summed over positions; both at each position."""
    ones = hidden_ND.new_ones(hidden_ND.size(0))
    if measure.name == "forward":
        return token_losses(
            hidden_ND,
            weight_VD,
            labels_N=labels_N,
            hard_weight_N=(1 - alpha) * ones,
            label_smoothing=label_smoothing,
            soft=teacher,
            soft_weight_N=alpha * ones,
        )

    def losses(logits: Tensor, rows: slice) -> dict[str, Tensor]:
        return {
            "hard": smoothed_cross_entropy(logits, labels_N[rows], smoothing=label_smoothing),
            "soft": measure(*teacher.part(rows).align(logits)),
        }

    weights = {"hard": 1 - alpha, "soft": alpha}
    learned = {name: weight * ones for name, weight in weights.items() if weight}
    total, parts = blockwise_losses(hidden_ND, weight_VD, losses=losses, weights=learned)
    return TokenLosses(total, parts["hard"], parts["soft"])


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """−(1−ε)·log q(label) − ε/V·Σ log q. -> [n]."""
    label = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.logsumexp(1) - (1 - smoothing) * label - smoothing * logits.mean(1)


class Divergence(Method):
    """(1−α)·CE(y) + α·D(p, q) for any of the divergences, on one prefix and in one pass.

    Args:
        divergence: its name.
        alpha: weight of D; 0 is the baseline.
        beta: β of `jensen_shannon`, the teacher's weight in the mixture.
        skew: a of `skew` and `skew_reverse`.
        head: the teacher's mass in the head, of `adaptive`.
        label_smoothing: of the cross-entropy only.
        prefix: the sequence whose prefixes both models read, and whose tokens are the labels.
    """

    def __init__(
        self,
        *,
        divergence: str,
        alpha: float,
        beta: float,
        skew: float,
        head: float,
        label_smoothing: float,
        prefix: View,
    ) -> None:
        super().__init__()
        self.measure = Measure(divergence, beta=beta, skew=skew, head=head)
        self.alpha = alpha
        self.label_smoothing = label_smoothing
        self.prefix = prefix

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (self.prefix,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (self.prefix,)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        losses = measured_losses(
            packed_states(student, batch, self.prefix, memory_BSD=memory),
            student.output_weight,
            self.measure,
            teacher=teacher_of(batch, self.prefix),
            labels_N=batch.targets[self.prefix].labels_N,
            alpha=self.alpha,
            label_smoothing=self.label_smoothing,
        )
        per = Per.token_of(self.prefix)
        return Loss(
            terms={per: losses.total},
            parts={
                f"loss/cross_entropy_{self.prefix}": (losses.hard_N.sum(), per),
                f"loss/{self.measure.name}": (losses.soft_N.sum(), per),
            },
        )


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Σ a·(log a − log b). -> [n]."""
    return (log_a.exp() * (_finite(log_a) - _finite(log_b))).sum(1)


def _log_mixture(log_a: Tensor, log_b: Tensor, *, share: float) -> Tensor:
    """Log(share·a + (1−share)·b). -> [n, E]."""
    return torch.logaddexp(_finite(log_a) + math.log(share), _finite(log_b) + math.log1p(-share))


def _finite(log: Tensor) -> Tensor:
    """With the floor in place of −∞, where there is no gradient."""
    return log.masked_fill(log.isneginf(), FLOOR)
