"""Cross-entropy on references (the baseline) or on the teacher's translations.

Sentence-level distillation is the sequence-level distillation of Kim & Rush (2016): the teacher's
beam output takes the place of the reference. What interpolation and multi-hypothesis distillation
choose among the n best is chosen before training: `kdray.teacher.selection`.
"""

from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.scored import ScoredConfig
from kdray.config.methods.sentence_level import SentenceLevelConfig
from kdray.methods.base import Batch, Loss, Method, Per, packed_states
from kdray.methods.kernel import token_losses
from kdray.model.transformer import Transformer


class CrossEntropy(
    Method[
        CrossEntropyConfig
        | SentenceLevelConfig
        | InterpolationConfig
        | MultiHypothesisConfig
        | ScoredConfig
    ]
):
    """Label-smoothed cross-entropy on one view, or the mean of the two views' means."""

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """−(1/views) Σ_views Σ_t log q(y_t | y_<t, x), smoothed."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        terms, parts, views = {}, {}, self.needs.views
        for view in views:
            states = packed_states(student, batch, view, memory_BSD=memory)
            losses = token_losses(
                states,
                student.output_weight,
                labels_N=batch.targets[view].labels_N,
                label_smoothing=self.config.label_smoothing,
            )
            per = Per.token_of(view)
            terms[per] = losses.total / len(views)
            parts[f"loss/cross_entropy_{view}"] = (losses.hard_N.sum(), per)
        return Loss(terms=terms, parts=parts)
