"""Selective distillation: the teacher's distribution only where the student finds it hard.

Wang et al. (2021): Σ_t CE_ls(y_t) + Σ_{t ∈ S} KL(p ‖ q), S the tokens with the largest
−log q(y_t), unsmoothed. `batch` takes the largest share of the batch that a worker sees; `global`
takes what exceeds the (1−share) quantile of the last losses, in a first-in first-out queue.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kdray.config.methods.selective import SelectiveConfig
from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import label_log_probs, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.online import OnlineTeacher
from kdray.model.transformer import Transformer
from kdray.schema import View

NLL = "nll"


class Selective(Method[SelectiveConfig]):
    """Cross-entropy everywhere and KL on the tokens of highest loss, compared without smoothing.

    The scope `global` falls back on `batch` while its queue is empty.
    """

    values: Tensor
    filled: Tensor
    position: Tensor

    def __init__(
        self, config: SelectiveConfig, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__(config, student, teacher)
        queue = config.queue if config.scope == "global" else 0
        self.register_buffer("values", torch.zeros(queue))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("position", torch.tensor(0))

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
            label_smoothing=self.config.label_smoothing,
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
            samples={NLL: nll} if self.config.scope == "global" else {},
        )

    def select(self, nll_N: Tensor) -> Tensor:
        """Which tokens are distilled, by their losses. -> bool [N]."""
        share = self.config.share
        if share == 1:
            return torch.ones_like(nll_N, dtype=torch.bool)
        remembered = self.values[: int(self.filled)]
        if len(remembered):
            return nll_N > torch.quantile(remembered, 1 - share)
        count = math.ceil(share * len(nll_N) - 1e-9)  # 0.07·100 is a little more than 7
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
