"""Selective distillation: the teacher's distribution only where the student finds it hard.

Wang et al. (2021): Σ_t CE_ls(y_t) + Σ_{t ∈ S} KL(p ‖ q), S the tokens with the largest
−log q(y_t), unsmoothed. `batch` takes the largest share of the batch that a worker sees; `global`
takes what exceeds the (1−share) quantile of the last losses, in a first-in first-out queue.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import label_log_probs, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.model.transformer import Transformer
from kdray.schema import View

NLL = "nll"


class Selective(Method):
    """Cross-entropy everywhere and KL on the tokens of highest loss.

    Args:
        scope: where losses are compared; `global` falls back on `batch` while its queue is empty.
        share: of the tokens that are selected; 1 selects all.
        queue: losses that `global` remembers.
        label_smoothing: of the cross-entropy only; the comparison is without it.
    """

    values: Tensor
    filled: Tensor
    position: Tensor

    def __init__(
        self,
        *,
        scope: Literal["batch", "global"],
        share: float,
        queue: int,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.scope = scope
        self.share = share
        self.label_smoothing = label_smoothing
        self.register_buffer("values", torch.zeros(queue if scope == "global" else 0))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("position", torch.tensor(0))

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return (View.REFERENCE,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return (View.REFERENCE,)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        labels = batch.targets[View.REFERENCE].labels_N
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, View.REFERENCE, memory_BSD=memory)
        nll = -label_log_probs(states, student.output_weight, labels)
        chosen = self.select(nll).to(states.dtype)
        losses = token_losses(
            states,
            student.output_weight,
            labels_N=labels,
            label_smoothing=self.label_smoothing,
            soft=soft_loss(teacher_of(batch, View.REFERENCE)),
            soft_weight_N=chosen,
        )
        sums = {
            f"loss/cross_entropy_{View.REFERENCE}": losses.hard_N,
            "loss/token": losses.soft_N,
            "loss/selected": chosen * losses.soft_N,
            "selected/share": chosen,
        }
        return Loss(
            terms={Per.REFERENCE: losses.total},
            parts={name: (values.sum(), Per.REFERENCE) for name, values in sums.items()},
            samples={NLL: nll} if self.scope == "global" else {},
        )

    def select(self, nll_N: Tensor) -> Tensor:
        """Which tokens are distilled, by their losses. -> bool [N]."""
        if self.share == 1:
            return torch.ones_like(nll_N, dtype=torch.bool)
        remembered = self.values[: int(self.filled)]
        if len(remembered):
            return nll_N > torch.quantile(remembered, 1 - self.share)
        count = math.ceil(self.share * len(nll_N) - 1e-9)  # 0.07·100 is a little more than 7
        chosen = torch.zeros_like(nll_N, dtype=torch.bool)
        chosen[nll_N.topk(count).indices] = True
        return chosen

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Remember the update's losses in place of the oldest."""
        size = len(self.values)
        if NLL in samples and size:
            newest = samples[NLL][-size:].to(self.values)
            places = (self.position + torch.arange(len(newest), device=self.values.device)) % size
            self.values[places] = newest
            self.position.copy_((self.position + len(newest)) % size)
            self.filled.copy_((self.filled + len(newest)).clamp_max(size))
        return averages
