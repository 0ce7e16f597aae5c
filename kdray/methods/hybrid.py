"""The hybrid of both levels: L = g·L_token + (1−g)·L_sentence, per token before mixing.

Wei et al. (2024). Two layouts: `two_pass` distils distributions on the reference and learns the
teacher's translation beside it, with one encoder pass; `one_pass` does both on the translation.
g ≡ 1 is token-level distillation with α = 1, g ≡ 0 is sentence-level distillation.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from kdray.methods.base import Batch, Loss, Method, Per, Target, packed_states, sentence_sums
from kdray.methods.gates import LOSS_SENTENCE, LOSS_TOKEN, Gate
from kdray.methods.kernel import token_losses
from kdray.model.transformer import Transformer
from kdray.schema import View


class Hybrid(Method):
    """A gated mixture of token-level and sentence-level distillation.

    Args:
        gate: weight of the token-level loss for each sentence.
        layout: where the token-level loss is taken.
        temperature: T of the token-level loss, which is scaled by T².
    """

    def __init__(
        self, gate: Gate, *, layout: Literal["two_pass", "one_pass"], temperature: float
    ) -> None:
        super().__init__()
        self.gate = gate
        self.layout = layout
        self._temperature = temperature

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        if self.layout == "two_pass":
            return (View.REFERENCE, View.HYPOTHESIS)
        return (View.HYPOTHESIS,)

    @property
    def soft_view(self) -> View:
        """The view whose teacher distributions `forward` reads."""
        return self.views[0]

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return self._temperature

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        gate_B = self.gate(memory, batch.src_mask_BS)
        mix = self._two_passes if self.layout == "two_pass" else self._one_pass
        terms, token_N, sentence_N = mix(student, batch, memory, self.gate.mixing_weights(gate_B))
        soft_target, hard_target = batch.targets[self.soft_view], batch.targets[View.HYPOTHESIS]
        penalty_B = self.gate.penalty(
            gate_B, _mean(token_N, soft_target, gate_B), _mean(sentence_N, hard_target, gate_B)
        )
        if penalty_B is not None:
            terms[Per.SENTENCE] = penalty_B.sum()
        fixed_B = gate_B.detach()
        return Loss(
            terms=terms,
            parts={
                LOSS_TOKEN: (token_N.sum(), Per.token_of(self.soft_view)),
                LOSS_SENTENCE: (sentence_N.sum(), Per.HYPOTHESIS),
                "gate/mean": (fixed_B.sum(), Per.SENTENCE),
                "gate/square": (fixed_B.square().sum(), Per.SENTENCE),
            },
        )

    def after_update(self, averages: Mapping[str, float]) -> Mapping[str, float]:
        """Tell the gate its losses; report the gate's standard deviation over sentences."""
        self.gate.after_update(averages)
        metrics = dict(averages)
        variance = metrics.pop("gate/square") - metrics["gate/mean"] ** 2
        return {**metrics, "gate/std": max(variance, 0.0) ** 0.5}

    def _two_passes(
        self, student: Transformer, batch: Batch, memory: Tensor, gate_B: Tensor
    ) -> tuple[dict[Per, Tensor], Tensor, Tensor]:
        reference, hypothesis = batch.targets[View.REFERENCE], batch.targets[View.HYPOTHESIS]
        token = token_losses(
            packed_states(student, batch, View.REFERENCE, memory_BSD=memory),
            student.output_weight,
            soft=reference.soft,
            soft_weight_N=gate_B[reference.sentence_N] * self.temperature**2,
        )
        sentence = token_losses(
            packed_states(student, batch, View.HYPOTHESIS, memory_BSD=memory),
            student.output_weight,
            labels_N=hypothesis.labels_N,
            hard_weight_N=1 - gate_B[hypothesis.sentence_N],
        )
        terms = {Per.REFERENCE: token.total, Per.HYPOTHESIS: sentence.total}
        return terms, token.soft_N, sentence.hard_N

    def _one_pass(
        self, student: Transformer, batch: Batch, memory: Tensor, gate_B: Tensor
    ) -> tuple[dict[Per, Tensor], Tensor, Tensor]:
        target = batch.targets[View.HYPOTHESIS]
        gate_N = gate_B[target.sentence_N]
        both = token_losses(
            packed_states(student, batch, View.HYPOTHESIS, memory_BSD=memory),
            student.output_weight,
            labels_N=target.labels_N,
            hard_weight_N=1 - gate_N,
            soft=target.soft,
            soft_weight_N=gate_N * self.temperature**2,
        )
        return {Per.HYPOTHESIS: both.total}, both.soft_N, both.hard_N


def _mean(values_N: Tensor, target: Target, gate_B: Tensor) -> Tensor:
    """Mean of a per-position loss over each sentence. -> [B]."""
    sentences = gate_B.size(0)
    counts = sentence_sums(values_N.new_ones(values_N.shape), target, sentences=sentences)
    return sentence_sums(values_N, target, sentences=sentences) / counts
