"""Top-1 information enhanced distillation: what the teacher ranks first, pass after pass.

Zhang et al. (2023): (1−α)·CE_ls(y) + α/N·Σ_i (KL_i + HR_i). KL is whole; the ranking loss is

    HR = Σ_i max(0, q_i − q_1) + Σ_ij 1[p_i > p'_j]·max(0, q'_j − q_i)

with i over the teacher's k likeliest tokens and j over the student's, p' and q' their
probabilities, q_1 the student's probability of the teacher's likeliest. Pass 1 reads the
reference; pass i+1 feeds both models the student's likeliest tokens of pass i, shifted right.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, Target, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import fold_forward
from kdray.methods.targets import DenseTargets
from kdray.model.precision import widened
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD


class Tie(Method):
    """Cross-entropy on the reference; KL and ranking loss there and on the student's answers.

    Args:
        alpha: weight of the distillation; 0 is the baseline.
        k: tokens that are ranked.
        passes: N.
        label_smoothing: of the cross-entropy only.
    """

    def __init__(self, *, alpha: float, k: int, passes: int, label_smoothing: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.k = k
        self.passes = passes if alpha else 1
        self.label_smoothing = label_smoothing

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (View.REFERENCE,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (View.REFERENCE,)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch; the distillation is logged as a mean over passes."""
        target, teacher = batch.targets[View.REFERENCE], teacher_of(batch, View.REFERENCE)
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        assert batch.teacher is not None, "the config was checked for this"
        src, src_mask, inputs = batch.src_BS, batch.src_mask_BS, target.inputs_BT
        memory, memories = student.encode(src, src_mask), batch.teacher.encode(src, src_mask)
        ones = widened(memory.new_ones(target.labels_N.size(0)))
        share = self.alpha / self.passes
        totals: list[Tensor] = []
        learned: list[Ranked] = []
        hard_N = ones
        for number in range(self.passes):
            if number:
                inputs = shifted(learned[-1].likeliest_N, target)
                teacher = batch.teacher.read(
                    src, src_mask, inputs, target.positions_N, memories=memories
                ).cast_for_products()
            hidden = student.decode(inputs, memory, src_mask).flatten(0, 1)
            learned.append(Ranked(teacher, self.k))
            losses = token_losses(
                hidden.index_select(0, target.positions_N),
                student.output_weight,
                labels_N=None if number else target.labels_N,
                hard_weight_N=(1 - self.alpha) * ones,
                label_smoothing=self.label_smoothing,
                soft=learned[-1],
                soft_weight_N=share * ones,
            )
            totals.append(losses.total)
            if not number:
                hard_N = losses.hard_N
        kl = torch.stack([ranked.kl_N.sum() for ranked in learned]).mean()
        ranking = torch.stack([ranked.ranking_N.sum() for ranked in learned]).mean()
        return Loss(
            terms={Per.REFERENCE: torch.stack(totals).sum()},
            parts={
                f"loss/cross_entropy_{View.REFERENCE}": (hard_N.sum(), Per.REFERENCE),
                "loss/token": (kl, Per.REFERENCE),
                "loss/ranking": (ranking, Per.REFERENCE),
            },
        )


class Ranked:
    """KL + HR. Both are noted, as is what the student finds likeliest, for the next pass."""

    temperature = 1.0
    reads_softmax = True

    def __init__(self, targets: DenseTargets, k: int) -> None:
        hidden_ND = targets.members[0].hidden_ND
        self.targets, self.k = targets, k
        self.kl_N, self.ranking_N = (widened(hidden_ND.new_zeros(len(hidden_ND))) for _ in range(2))
        self.likeliest_N = hidden_ND.new_zeros(len(hidden_ND), dtype=torch.long)

    def fold(self, z: Tensor, q: Tensor, scale: Tensor, weight: Tensor, rows: slice) -> Tensor:
        """The ranking's slope lies on few entries: those that either ranks."""
        teacher = self.targets.part(rows).logits()
        p = teacher.softmax(1)
        ranking = rank(p, q, k=self.k)
        of_theirs = ranking.slope_theirs * q.gather(1, ranking.theirs)
        of_ours = ranking.slope_ours * q.gather(1, ranking.ours)
        own = torch.addcmul(scale, weight, of_theirs.sum(1) + of_ours.sum(1), value=-1)
        kl = fold_forward(z, q, teacher, p, own, weight)
        q.scatter_add_(1, ranking.theirs, of_theirs.mul_(weight[:, None]))
        q.scatter_add_(1, ranking.ours, of_ours.mul_(weight[:, None]))
        self.kl_N[rows], self.ranking_N[rows] = kl, ranking.value
        self.likeliest_N[rows] = ranking.ours[:, 0]
        return kl + ranking.value


class Ranking(NamedTuple):
    """HR at each position [n], and its derivatives ∂HR/∂q at the entries that either ranks [n, k].

    Where both rank an entry its derivatives add up.
    """

    value: Tensor
    theirs: Tensor
    ours: Tensor
    slope_theirs: Tensor
    slope_ours: Tensor


def rank(p: Tensor, q: Tensor, *, k: int) -> Ranking:
    """HR of probabilities [n, V], see the module."""
    k = min(k, p.size(1))
    (q_j, ours), (p_i, theirs) = q.topk(k), p.topk(k)
    q_i, p_j = q.gather(1, theirs), p.gather(1, ours)
    above_first = (q_i - q_i[:, :1]).relu()
    wrong = (q_j[:, None, :] - q_i[:, :, None]).relu()  # [n, i, j]
    wrong *= p_i[:, :, None] > p_j[:, None, :]
    above, counted = above_first.sign(), wrong.sign()
    slope_theirs = above - counted.sum(2)
    slope_theirs[:, 0] -= above.sum(1)
    value = above_first.sum(1) + wrong.sum((1, 2))
    return Ranking(value, theirs, ours, slope_theirs, counted.sum(1))


def shifted(tokens_N: Tensor, target: Target) -> Tensor:
    """Decoder inputs with the given tokens in place of the target's. -> [B, T]."""
    packed = torch.full_like(target.inputs_BT, PAD).flatten()
    tokens_BT = packed.index_copy_(0, target.positions_N, tokens_N).view_as(target.inputs_BT)
    start = torch.full_like(tokens_BT[:, :1], BOS)
    return torch.cat((start, tokens_BT[:, :-1]), dim=1)
