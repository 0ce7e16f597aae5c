"""Hard-Gate distillation: at each token the teacher alone or the reference alone.

Lee et al. (2022): the student's own confidence against the teacher's tells where it is
over-confident. With p_T the teacher at temperature T and q the student at temperature 1,

    L = Σ_t g_t·KL(p_T ‖ q) + (1−g_t)·CE(y_t),   g_t = 1 where q(y_t) > p_T(y_t), else 0;

for `per="sentence"` all tokens share the gate of their mean log-probabilities.
"""

from kdray.config.methods.hard_gate import HardGateConfig
from kdray.methods.base import Batch, Loss, Method, Per, packed_states, sentence_means, teacher_of
from kdray.methods.kernel import label_log_probs, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.model.transformer import Transformer
from kdray.schema import View


class HardGate(Method[HardGateConfig]):
    """KL where the student is surer of the reference than the teacher is, cross-entropy elsewhere.

    The temperature is the teacher's only.
    """

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch; both losses are logged over all tokens, gated or not."""
        target, teacher = batch.targets[View.REFERENCE], teacher_of(batch, View.REFERENCE)
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, View.REFERENCE, memory_BSD=memory)
        log_q = label_log_probs(states, student.output_weight, target.labels_N)
        log_p = teacher.log_labels(target.labels_N)
        if self.config.per == "token":
            gate, unit = (log_q > log_p).to(states.dtype), Per.REFERENCE
            gate_N = gate
        else:
            # Of the differences: two means of equal values may differ by rounding.
            means = sentence_means(log_q - log_p, target, sentences=batch.src_BS.size(0))
            gate, unit = (means > 0).to(states.dtype), Per.SENTENCE
            gate_N = gate[target.sentence_N]
        losses = token_losses(
            states,
            student.output_weight,
            labels_N=target.labels_N,
            hard_weight_N=1 - gate_N,
            label_smoothing=self.config.label_smoothing,
            soft=soft_loss(teacher.one_sided()),
            soft_weight_N=gate_N,
        )
        return Loss(
            terms={Per.REFERENCE: losses.total},
            parts={
                f"loss/cross_entropy_{View.REFERENCE}": (losses.hard_N.sum(), Per.REFERENCE),
                "loss/token": (losses.soft_N.sum(), Per.REFERENCE),
                "gate/mean": (gate.sum(), unit),
            },
        )
