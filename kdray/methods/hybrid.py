"""The hybrid of both levels: L = g·L_token + (1−g)·L_sentence, per token before mixing.

Wei et al. (2024). Two layouts: `two_pass` distils distributions on the reference and learns the
teacher's translation beside it, with one encoder pass; `one_pass` does both on the translation.
g ≡ 1 is token-level distillation with α = 1, g ≡ 0 is sentence-level distillation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kdray.config.methods.hybrid import HybridConfig
from kdray.methods.base import (
    Batch,
    DevStep,
    Loss,
    Method,
    Metrics,
    Per,
    Samples,
    packed_states,
    sentence_means,
    sentence_sums,
    teacher_of,
)
from kdray.methods.gate_statistics import gate_statistics
from kdray.methods.gates import Scene, build_gate
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.online import OnlineTeacher
from kdray.methods.stabilisers import LOSS_SENTENCE, LOSS_TOKEN, Bilevel, build_stabiliser
from kdray.model.precision import widened
from kdray.model.transformer import Transformer
from kdray.schema import View

GATE, SOURCE_LENGTH = "gate", "source_length"


@dataclass(frozen=True, slots=True)
class Mixture:
    """A batch's gate and both losses at their positions; G gate values.

    gate_G has its gradient; the losses have none, and T² is no part of them.
    """

    gate_G: Tensor
    token_N: Tensor
    sentence_N: Tensor
    terms: dict[Per, Tensor]


class Hybrid(Method[HybridConfig]):
    """A gated mixture of token-level and sentence-level distillation.

    The token-level loss is taken on the first view, and scaled by T².
    """

    has_gate: ClassVar[bool] = True

    def __init__(
        self, config: HybridConfig, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__(config, student, teacher)
        self.gate = build_gate(config.gate, student.config.width)
        self.stabiliser = build_stabiliser(config.gate)
        self.soft_view, self.scale = self.needs.views[0], config.temperature**2

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        mixture = self.mix(student, batch)
        terms = dict(mixture.terms)
        losses = self.losses_of_gates(mixture, batch, reduce=sentence_means)
        penalty_G = self.stabiliser.penalty(mixture.gate_G, *losses)
        if penalty_G is not None:
            per = Per.HYPOTHESIS if self.config.gate.per_token else Per.SENTENCE
            terms[per] = terms[per] + penalty_G.sum() if per in terms else penalty_G.sum()
        return Loss(
            terms=terms,
            parts={
                LOSS_TOKEN: (mixture.token_N.sum(), Per.token_of(self.soft_view)),
                LOSS_SENTENCE: (mixture.sentence_N.sum(), Per.HYPOTHESIS),
            },
            samples={
                GATE: self._gate_of_sentences(mixture.gate_G.detach(), batch),
                SOURCE_LENGTH: batch.src_mask_BS.sum(1).to(mixture.token_N.dtype),
            },
        )

    def after_update(self, averages: Metrics, samples: Samples) -> Metrics:
        """Tell the stabiliser the losses; report how the gate lies over sentences."""
        scaled = averages[LOSS_TOKEN] * self.scale
        self.stabiliser.after_update({**averages, LOSS_TOKEN: scaled})
        return {**averages, **gate_statistics(samples[GATE], samples[SOURCE_LENGTH])}

    def mix(self, student: Transformer, batch: Batch) -> Mixture:
        """The gate, both losses, and their gated sums."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        target, teacher = batch.targets[self.soft_view], teacher_of(batch, self.soft_view)
        states = packed_states(student, batch, self.soft_view, memory_BSD=memory)
        weight, hypothesis = student.output_weight, batch.targets[View.HYPOTHESIS]
        scene = Scene(
            widened(memory), batch.src_mask_BS, target, states, teacher, weight, self.clock
        )
        gate_G = self.gate(scene)
        mixing_G = self.stabiliser.mixing_weights(gate_G)
        gate_N = mixing_G if self.config.gate.per_token else mixing_G[target.sentence_N]
        in_one_pass = self.config.layout == "one_pass"
        token = token_losses(
            states,
            weight,
            labels_N=hypothesis.labels_N if in_one_pass else None,
            hard_weight_N=1 - gate_N,
            soft=soft_loss(teacher),
            soft_weight_N=gate_N * self.scale,
        )
        if in_one_pass:
            return Mixture(gate_G, token.soft_N, token.hard_N, {Per.HYPOTHESIS: token.total})
        sentence = token_losses(
            packed_states(student, batch, View.HYPOTHESIS, memory_BSD=memory),
            weight,
            labels_N=hypothesis.labels_N,
            hard_weight_N=1 - mixing_G[hypothesis.sentence_N],
        )
        terms = {Per.REFERENCE: token.total, Per.HYPOTHESIS: sentence.total}
        return Mixture(gate_G, token.soft_N, sentence.hard_N, terms)

    def losses_of_gates(
        self, mixture: Mixture, batch: Batch, *, reduce: Callable[..., Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Both losses that each gate value weighs, T² included. -> [G].

        Those of its token, or its sentence's as `sentence_sums` or `sentence_means` reduces them.
        """

        def of_gates(values_N: Tensor, view: View) -> Tensor:
            if self.config.gate.per_token:
                return values_N
            return reduce(values_N, batch.targets[view], sentences=len(batch.src_BS))

        token_G = of_gates(mixture.token_N * self.scale, self.soft_view)
        return token_G, of_gates(mixture.sentence_N, View.HYPOTHESIS)

    def dev_step(self) -> DevStep | None:
        """The gate, if its stabiliser leaves it to dev."""
        if not isinstance(self.stabiliser, Bilevel):
            return None
        return DevStep(
            config=self.stabiliser.config,
            parameters={f"gate.{name}": value for name, value in self.gate.named_parameters()},
            weights=lambda student, batch: self.mix(student, batch).gate_G,
            differences=self._differences,
        )

    def _differences(self, student: Transformer, batch: Batch, counts: Mapping[Per, int]) -> Tensor:
        """Each gate value's token-level loss less its sentence-level loss, over counts. -> [G]."""
        mixture = self.mix(student, batch)
        token_G, sentence_G = self.losses_of_gates(mixture, batch, reduce=sentence_sums)
        return token_G / counts[Per.token_of(self.soft_view)] - sentence_G / counts[Per.HYPOTHESIS]

    def sentence_gates(self, student: Transformer, batch: Batch) -> Tensor:
        """See `Method`; T² is no part of the losses. -> [B, 3]."""
        mixture, sentences = self.mix(student, batch), len(batch.src_BS)
        soft, hard = batch.targets[self.soft_view], batch.targets[View.HYPOTHESIS]
        gate_B = self._gate_of_sentences(mixture.gate_G, batch)
        token_B = sentence_means(mixture.token_N, soft, sentences=sentences)
        sentence_B = sentence_means(mixture.sentence_N, hard, sentences=sentences)
        return torch.stack((gate_B, token_B, sentence_B), dim=1)

    def _gate_of_sentences(self, gate_G: Tensor, batch: Batch) -> Tensor:
        """The gate of each sentence; of a gate for tokens, its mean. -> [B]."""
        if not self.config.gate.per_token:
            return gate_G
        target = batch.targets[self.soft_view]
        return sentence_means(gate_G, target, sentences=len(batch.src_BS))
