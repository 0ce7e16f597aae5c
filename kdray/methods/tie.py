"""Top-1 information enhanced distillation: what the teacher ranks first, pass after pass.

Zhang et al. (2023): (1−α)·CE_ls(y) + α/N·Σ_i (KL_i + HR_i). KL is whole; the ranking loss is

    HR = Σ_i max(0, q_i − q_1) + Σ_ij 1[p_i > p'_j]·max(0, q'_j − q_i)

with i over the teacher's k likeliest tokens and j over the student's, p' and q' their
probabilities, q_1 the student's probability of the teacher's likeliest. Pass 1 reads the
reference; pass i+1 feeds both models the student's likeliest tokens of pass i, shifted right.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from kdray.methods import divergences
from kdray.methods.base import Batch, Loss, Method, Per, Target, teacher_of
from kdray.methods.blockwise import blockwise_losses
from kdray.methods.divergences import smoothed_cross_entropy
from kdray.methods.targets import DenseTargets
from kdray.model.precision import widened
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD

HARD, SOFT, RANKING, LIKELIEST = "hard", "soft", "ranking", "likeliest"


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
        parts: list[Mapping[str, Tensor]] = []
        for number in range(self.passes):
            if number:
                inputs = shifted(parts[-1][LIKELIEST], target)
                teacher = batch.teacher.read(
                    src, src_mask, inputs, target.positions_N, memories=memories
                ).cast_for_products()
            hidden = student.decode(inputs, memory, src_mask).flatten(0, 1)
            weights = {SOFT: share * ones, RANKING: share * ones}
            if number == 0:
                weights[HARD] = (1 - self.alpha) * ones
            total, part = blockwise_losses(
                hidden.index_select(0, target.positions_N),
                student.output_weight,
                losses=partial(self._losses, teacher=teacher, labels_N=target.labels_N),
                weights=weights,
            )
            totals.append(total)
            parts.append(part)
        kl = torch.stack([part[SOFT].sum() for part in parts]).mean()
        ranking = torch.stack([part[RANKING].sum() for part in parts]).mean()
        return Loss(
            terms={Per.REFERENCE: torch.stack(totals).sum()},
            parts={
                f"loss/cross_entropy_{View.REFERENCE}": (parts[0][HARD].sum(), Per.REFERENCE),
                "loss/token": (kl, Per.REFERENCE),
                "loss/ranking": (ranking, Per.REFERENCE),
            },
        )

    def _losses(
        self, logits: Tensor, rows: slice, *, teacher: DenseTargets, labels_N: Tensor
    ) -> dict[str, Tensor]:
        log_p, log_q = teacher.part(rows).align(logits)
        return {
            HARD: smoothed_cross_entropy(logits, labels_N[rows], smoothing=self.label_smoothing),
            SOFT: divergences.forward(log_p, log_q),
            RANKING: ranking_loss(log_p.exp(), log_q.exp(), k=self.k),
            LIKELIEST: logits.argmax(1),
        }


def ranking_loss(p: Tensor, q: Tensor, *, k: int) -> Tensor:
    """HR of probabilities [n, V], see the module. -> [n]."""
    k = min(k, p.size(1))
    ours, theirs = q.topk(k).indices, p.topk(k).indices
    q_i, q_j = q.gather(1, theirs), q.gather(1, ours)
    p_i, p_j = p.gather(1, theirs), p.gather(1, ours)
    above_first = (q_i - q_i[:, :1]).relu().sum(1)
    preferred = p_i[:, :, None] > p_j[:, None, :]  # [n, i, j]
    return above_first + ((q_j[:, None, :] - q_i[:, :, None]).relu() * preferred).sum((1, 2))


def shifted(tokens_N: Tensor, target: Target) -> Tensor:
    """Decoder inputs with the given tokens in place of the target's. -> [B, T]."""
    packed = torch.full_like(target.inputs_BT, PAD).flatten()
    tokens_BT = packed.index_copy_(0, target.positions_N, tokens_N).view_as(target.inputs_BT)
    start = torch.full_like(tokens_BT[:, :1], BOS)
    return torch.cat((start, tokens_BT[:, :-1]), dim=1)
