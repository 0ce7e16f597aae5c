"""What the formulas of all methods are made of: logits of student and teacher for a batch.

Nothing here comes from kdray.methods but what a batch is. B sentences, N target positions.
"""

from collections.abc import Callable

import torch
from dense_divergences import kl
from torch import Tensor
from torch.nn import functional as F
from toy_distillation import Trial
from toy_teacher import KEPT

from kdray.methods.base import Batch
from kdray.schema import Form, View


class Dense:
    """Logits of student and teacher for a batch, and means over the whole batch."""

    def __init__(self, trial: Trial, batch: Batch) -> None:
        self.trial, self.batch = trial, batch

    def student(self, view: View, inputs: Tensor | None = None) -> Tensor:
        return self._logits(self.trial.student, view, inputs)

    @torch.no_grad()
    def teacher(self, view: View, inputs: Tensor | None = None) -> Tensor:
        """For an ensemble the log of the mean of its probabilities."""
        each = [self._logits(m, view, inputs).softmax(1) for m in self.trial.teacher.models]
        return torch.stack(each).mean(0).log()

    def _logits(self, model, view, inputs):
        target, batch = self.batch.targets[view], self.batch
        inputs = target.inputs_BT if inputs is None else inputs
        return model(batch.src_BS, batch.src_mask_BS, inputs).flatten(0, 1)[target.positions_N]

    def labels(self, view: View) -> Tensor:
        return self.batch.targets[view].labels_N

    def ce(self, view: View, smoothing: float) -> Tensor:
        return F.cross_entropy(
            self.student(view), self.labels(view), reduction="none", label_smoothing=smoothing
        )

    def outcomes(
        self, view: View, temperature: float = 1.0, *, one_sided: bool = False
    ) -> tuple[Tensor, Tensor]:
        """p and q over what the form tells apart: tokens, or some tokens and all the others."""
        p = (self.teacher(view) / temperature).softmax(1)
        q = (self.student(view) / (1.0 if one_sided else temperature)).softmax(1)
        if self.trial.form is Form.TOPK:
            kept = p.argsort(1, descending=True)[:, :KEPT]
            others = torch.ones_like(p).scatter(1, kept, 0.0)
            p, q = (
                torch.cat((each.gather(1, kept), (each * others).sum(1, keepdim=True)), 1)
                for each in (p, q)
            )
        elif self.trial.form is Form.SAMPLED:
            drawn = self.batch.targets[view].teacher
            p = torch.zeros_like(p).scatter(1, drawn.ids_NK, drawn.logp_NK.exp())
        return p, q

    def kl(self, view: View, temperature: float = 1.0, *, one_sided: bool = False) -> Tensor:
        return kl(*self.outcomes(view, temperature, one_sided=one_sided))

    def log_label(self, model: Callable[..., Tensor], view: View, temperature: float) -> Tensor:
        logp = (model(view) / temperature).log_softmax(1)
        return logp[torch.arange(len(logp)), self.labels(view)]

    def by_sentence(self, values_N: Tensor, view: View) -> Tensor:
        """Mean over the tokens of each sentence. -> [B]."""
        rows = self.batch.targets[view].sentence_N
        return torch.stack([values_N[rows == b].mean() for b in range(len(self.batch.src_BS))])

    def spread(self, values_B: Tensor, view: View) -> Tensor:
        """The value of its sentence for each token. -> [N]."""
        return values_B[self.batch.targets[view].sentence_N]
