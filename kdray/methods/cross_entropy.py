"""Cross-entropy on references (the baseline) or on the teacher's translations.

Sentence-level distillation is the sequence-level distillation of Kim & Rush (2016): the teacher's
beam output takes the place of the reference.
"""

from collections.abc import Sequence

from kdray.methods.base import Batch, Loss, Method, Per, packed_states
from kdray.methods.kernel import token_losses
from kdray.model.transformer import Transformer
from kdray.schema import View


class CrossEntropy(Method):
    """Label-smoothed cross-entropy on one view, or the mean of the two views' means.

    Args:
        views: target sequences to learn.
        label_smoothing: ε, spread evenly over the whole vocabulary.
    """

    def __init__(self, views: Sequence[View], *, label_smoothing: float) -> None:
        super().__init__()
        self._views = tuple(views)
        self.label_smoothing = label_smoothing

    @property
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""
        return self._views

    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """−(1/views) Σ_views Σ_t log q(y_t | y_<t, x), smoothed."""
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        terms, parts = {}, {}
        for view in self.views:
            states = packed_states(student, batch, view, memory_BSD=memory)
            losses = token_losses(
                states,
                student.output_weight,
                labels_N=batch.targets[view].labels_N,
                label_smoothing=self.label_smoothing,
            )
            per = Per.token_of(view)
            terms[per] = losses.total / len(self.views)
            parts[f"loss/cross_entropy_{view}"] = (losses.hard_N.sum(), per)
        return Loss(terms=terms, parts=parts)
