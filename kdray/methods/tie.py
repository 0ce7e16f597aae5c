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

from kdray.config.methods.tie import TieConfig
from kdray.methods.base import Batch, Loss, Method, Per, Target, teacher_of
from kdray.methods.kernel import TokenLosses, token_losses
from kdray.methods.kernel_losses import DenseLoss, Piece, fold_forward
from kdray.methods.targets import DenseTargets
from kdray.model.precision import widened
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD


class Tie(Method[TieConfig]):
    """Cross-entropy on the reference; KL and ranking loss there and on the student's answers."""

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch; the distillation is logged as a mean over passes."""
        target, teacher = batch.targets[View.REFERENCE], teacher_of(batch, View.REFERENCE)
        assert isinstance(teacher, DenseTargets), "the config was checked for this"
        assert batch.teacher is not None, "the config was checked for this"
        src, src_mask, inputs = batch.src_BS, batch.src_mask_BS, target.inputs_BT
        memory, memories = student.encode(src, src_mask), batch.teacher.encode(src, src_mask)
        alpha = self.config.alpha
        passes = self.config.passes if alpha else 1
        learned: list[TokenLosses] = []
        ranked: list[Ranked] = []
        for number in range(passes):
            if number:
                inputs = shifted(ranked[-1].likeliest_N, target)
                teacher = batch.teacher.read(
                    src, src_mask, inputs, target.positions_N, memories=memories
                ).cast_for_products()
            hidden = student.decode(inputs, memory, src_mask).flatten(0, 1)
            ranked.append(Ranked(teacher, self.config.k))
            learned.append(
                token_losses(
                    hidden.index_select(0, target.positions_N),
                    student.output_weight,
                    labels_N=None if number else target.labels_N,
                    hard_weight_N=1 - alpha,
                    label_smoothing=self.config.label_smoothing,
                    soft=ranked[-1],
                    soft_weight_N=alpha / passes,
                )
            )
        both = torch.stack([losses.soft_N.sum() for losses in learned]).mean()
        ranking = torch.stack([each.ranking_N.sum() for each in ranked]).mean()
        return Loss(
            terms={Per.REFERENCE: torch.stack([losses.total for losses in learned]).sum()},
            parts={
                f"loss/cross_entropy_{View.REFERENCE}": (learned[0].hard_N.sum(), Per.REFERENCE),
                "loss/token": (both - ranking, Per.REFERENCE),
                "loss/ranking": (ranking, Per.REFERENCE),
            },
        )


class Ranked(DenseLoss):
    """KL + HR. It notes HR, and for the next pass what the student finds likeliest."""

    def __init__(self, targets: DenseTargets, k: int) -> None:
        super().__init__(targets)
        self.k = k
        hidden_ND = targets.members[0].hidden_ND
        self.ranking_N = widened(hidden_ND.new_zeros(len(hidden_ND)))
        self.likeliest_N = hidden_ND.new_zeros(len(hidden_ND), dtype=torch.long)

    def fold(self, at: Piece) -> Tensor:
        """The ranking's slope lies on few entries: those that either ranks."""
        rows, p = at.rows, at.teacher.softmax(1)
        ranking = rank(p, at.q, k=self.k)
        self.ranking_N[rows], self.likeliest_N[rows] = ranking.value, ranking.likeliest
        own = torch.addcmul(at.scale, at.weight, ranking.slope.sum(1), value=-1)
        kl = fold_forward(at, p, own)
        at.q.scatter_add_(1, ranking.entries, ranking.slope * at.weight[:, None])
        return kl + ranking.value


class Ranking(NamedTuple):
    """HR at each position [n], and its slope q·∂HR/∂q at the entries that either ranks [n, 2k].

    Slopes of an entry that both rank add up. likeliest: of the student's entries, [n].
    """

    value: Tensor
    entries: Tensor
    slope: Tensor
    likeliest: Tensor


def rank(p: Tensor, q: Tensor, *, k: int) -> Ranking:
    """HR of probabilities [n, V], see the module."""
    k = min(k, p.size(1))
    (q_j, ours), (p_i, theirs) = q.topk(k), p.topk(k)
    q_i, p_j = q.gather(1, theirs), p.gather(1, ours)
    above_first = (q_i - q_i[:, :1]).relu()
    wrong = (q_j[:, None, :] - q_i[:, :, None]).relu()  # [n, i, j]
    wrong *= p_i[:, :, None] > p_j[:, None, :]
    value = above_first.sum(1) + wrong.sum((1, 2))
    above, counted = above_first.sign(), wrong.sign()
    by_i = above - counted.sum(2)
    by_i[:, 0] -= above.sum(1)
    slope = torch.cat((by_i * q_i, counted.sum(1) * q_j), dim=1)
    return Ranking(value, torch.cat((theirs, ours), dim=1), slope, ours[:, 0])


def shifted(tokens_N: Tensor, target: Target) -> Tensor:
    """Decoder inputs with the given tokens in place of the target's. -> [B, T]."""
    packed = torch.full_like(target.inputs_BT, PAD).flatten()
    tokens_BT = packed.index_copy_(0, target.positions_N, tokens_N).view_as(target.inputs_BT)
    start = torch.full_like(tokens_BT[:, :1], BOS)
    return torch.cat((start, tokens_BT[:, :-1]), dim=1)
