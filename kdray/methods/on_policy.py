"""On-policy distillation: a divergence on references and on the student's own samples.

Agarwal et al. (2024, generalised knowledge distillation): (1−λ)·E_data[D(p, q)] +
λ·E_{y'~q}[D(p, q)], without a gradient through the sampling. Each expectation is a mean over its
own tokens, λ weighs the two; in the paper λ is the share of batches that are sampled [K].
"""

import torch

from kdray.config.methods.on_policy import OnPolicyConfig
from kdray.methods.base import Batch, Loss, Method, Per, packed_states, teacher_of
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import Measure
from kdray.methods.student_sequences import with_student_view
from kdray.model.transformer import Transformer
from kdray.schema import View


class OnPolicy(Method[OnPolicyConfig]):
    """A divergence from the teacher on stored and on freshly sampled sequences."""

    @torch.no_grad()
    def prepare(self, student: Transformer, batch: Batch) -> Batch:
        """Let the student write a sequence for every sentence."""
        if View.STUDENT not in self.needs.distributions:
            return batch
        everyone = torch.ones(batch.src_BS.size(0), dtype=torch.bool)
        temperature = self.config.temperature
        return with_student_view(batch, student, chosen_B=everyone, temperature=temperature)

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        own, measure = self.config.student_share, Measure(self.config.divergence, self.config.beta)
        weights = {View.REFERENCE: 1 - own, View.STUDENT: own}
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        terms, parts = {}, {}
        for view in self.needs.distributions:
            losses = token_losses(
                packed_states(student, batch, view, memory_BSD=memory),
                student.output_weight,
                soft=soft_loss(teacher_of(batch, view), measure),
            )
            per = Per.token_of(view)
            terms[per] = weights[view] * losses.total
            parts[f"loss/{measure.name}_{view}"] = (losses.soft_N.sum(), per)
        return Loss(terms=terms, parts=parts)
