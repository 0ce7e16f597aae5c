"""The hybrid of both levels: L = g·L_token + (1−g)·L_sentence, per token before mixing.

Wei et al. (2024). Two layouts: `two_pass` distils distributions on the reference and learns the
teacher's translation beside it, with one encoder pass; `one_pass` does both on the translation.
g ≡ 1 is token-level distillation with α = 1, g ≡ 0 is sentence-level distillation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kdray.methods.base import (
    Batch,
    Loss,
    Method,
    Per,
    Target,
    packed_states,
    sentence_means,
    sentence_sums,
    teacher_of,
)
from kdray.methods.gate_statistics import gate_statistics
from kdray.methods.gates import Gate, Scene
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.stabilisers import LOSS_SENTENCE, LOSS_TOKEN, Stabiliser
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


class Hybrid(Method):
    """A gated mixture of token-level and sentence-level distillation.

    Args:
        gate: weight of the token-level loss for each sentence, or token.
        stabiliser: how the gate learns.
        layout: where the token-level loss is taken.
        temperature: T of the token-level loss, which is scaled by T².
    """

    def __init__(
        self,
        gate: Gate,
        stabiliser: Stabiliser,
        *,
        layout: Literal["two_pass", "one_pass"],
        temperature: float,
    ) -> None:
        super().__init__()
        self.gate = gate
        self.stabiliser = stabiliser
        self.layout = layout
        self._temperature = temperature

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        if self.layout == "two_pass":
            return (View.REFERENCE, View.HYPOTHESIS)
        return (View.HYPOTHESIS,)

    @property
    def reads(self) -> tuple[View, ...]:
        """The view whose teacher distributions `forward` reads."""
        return self.views[:1]

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return self._temperature

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        mixture = self.mix(student, batch)
        terms = dict(mixture.terms)
        penalty_G = self.stabiliser.penalty(mixture.gate_G, *self._losses_of_gates(mixture, batch))
        if penalty_G is not None:
            per = Per.HYPOTHESIS if self.gate.per_token else Per.SENTENCE
            terms[per] = terms[per] + penalty_G.sum() if per in terms else penalty_G.sum()
        return Loss(
            terms=terms,
            parts={
                LOSS_TOKEN: (mixture.token_N.sum(), Per.token_of(self.reads[0])),
                LOSS_SENTENCE: (mixture.sentence_N.sum(), Per.HYPOTHESIS),
            },
            samples={
                GATE: self.gate_of_sentences(mixture.gate_G.detach(), batch),
                SOURCE_LENGTH: batch.src_mask_BS.sum(1).to(mixture.token_N.dtype),
            },
        )

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """Tell the stabiliser the losses; report how the gate lies over sentences."""
        scaled = averages[LOSS_TOKEN] * self.temperature**2
        self.stabiliser.after_update({**averages, LOSS_TOKEN: scaled})
        return {**averages, **gate_statistics(samples[GATE], samples[SOURCE_LENGTH])}

    def mix(self, student: Transformer, batch: Batch) -> Mixture:
        """The gate, both losses, and their gated sums."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        soft_view = self.reads[0]
        target, teacher = batch.targets[soft_view], teacher_of(batch, soft_view)
        states = packed_states(student, batch, soft_view, memory_BSD=memory)
        weight = student.output_weight
        scene = Scene(
            widened(memory), batch.src_mask_BS, target, states, teacher, weight, self.clock
        )
        gate_G = self.gate(scene)
        mixing_G = self.stabiliser.mixing_weights(gate_G)
        scale = self.temperature**2
        hypothesis = batch.targets[View.HYPOTHESIS]
        if self.layout == "one_pass":
            gate_N = mixing_G if self.gate.per_token else mixing_G[target.sentence_N]
            both = token_losses(
                states,
                weight,
                labels_N=hypothesis.labels_N,
                hard_weight_N=1 - gate_N,
                soft=soft_loss(teacher),
                soft_weight_N=gate_N * scale,
            )
            terms = {Per.HYPOTHESIS: both.total}
            return Mixture(gate_G, both.soft_N, both.hard_N, terms)
        token = token_losses(
            states,
            weight,
            soft=soft_loss(teacher),
            soft_weight_N=mixing_G[target.sentence_N] * scale,
        )
        sentence = token_losses(
            packed_states(student, batch, View.HYPOTHESIS, memory_BSD=memory),
            weight,
            labels_N=hypothesis.labels_N,
            hard_weight_N=1 - mixing_G[hypothesis.sentence_N],
        )
        terms = {Per.REFERENCE: token.total, Per.HYPOTHESIS: sentence.total}
        return Mixture(gate_G, token.soft_N, sentence.hard_N, terms)

    def sums_of_gates(self, mixture: Mixture, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both losses summed over the tokens that each gate value weighs, T² included. -> [G]."""
        token_N = mixture.token_N * self.temperature**2
        if self.gate.per_token:
            return token_N, mixture.sentence_N
        return (
            sentence_sums(token_N, self._soft_target(batch), sentences=len(batch.src_BS)),
            sentence_sums(
                mixture.sentence_N, batch.targets[View.HYPOTHESIS], sentences=len(batch.src_BS)
            ),
        )

    def gate_of_sentences(self, gate_G: Tensor, batch: Batch) -> Tensor:
        """The gate of each sentence; of a gate for tokens, its mean. -> [B]."""
        if not self.gate.per_token:
            return gate_G
        return sentence_means(gate_G, self._soft_target(batch), sentences=len(batch.src_BS))

    def _losses_of_gates(self, mixture: Mixture, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both losses per token, where each gate value stands, T² included. -> [G]."""
        token_N = mixture.token_N * self.temperature**2
        if self.gate.per_token:
            return token_N, mixture.sentence_N
        sentences, hypothesis = len(batch.src_BS), batch.targets[View.HYPOTHESIS]
        return (
            sentence_means(token_N, self._soft_target(batch), sentences=sentences),
            sentence_means(mixture.sentence_N, hypothesis, sentences=sentences),
        )

    def _soft_target(self, batch: Batch) -> Target:
        return batch.targets[self.reads[0]]
