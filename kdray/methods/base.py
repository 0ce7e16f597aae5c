"""What every distillation method is: a batch and a student in, sums of losses out.

A method never divides. It returns sums, each with the count it is to be divided by, and the
training loop divides once by the global count of the update: so micro-batches and workers change
nothing. Shapes: B sentences, T target positions, N real target positions of a batch in one row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, nn

from kdray.methods.kernel import SoftTargets
from kdray.model.transformer import Transformer
from kdray.schema import View


class Per(StrEnum):
    """What a sum is divided by: a count over the whole update, over all workers."""

    REFERENCE = "reference tokens"
    HYPOTHESIS = "hypothesis tokens"
    SENTENCE = "sentences"

    @classmethod
    def token_of(cls, view: View) -> "Per":
        """The unit of a loss over the tokens of a view."""
        return cls.REFERENCE if view is View.REFERENCE else cls.HYPOTHESIS


@dataclass(frozen=True, slots=True)
class Target:
    """One target sequence for each sentence of a batch, and its real positions in one row.

    inputs_BT: `<s>` and all tokens but the last, padded. positions_N: where the real positions are
    in the flattened [B·T]. labels_N: the token to predict there. sentence_N: its row in the batch.
    soft: teacher distributions at those positions, if the method reads any.
    """

    inputs_BT: Tensor
    positions_N: Tensor
    labels_N: Tensor
    sentence_N: Tensor
    soft: SoftTargets | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentence pairs, padded, with the target views that a method reads."""

    src_BS: Tensor
    src_mask_BS: Tensor
    targets: Mapping[View, Target]


@dataclass(frozen=True, slots=True)
class Loss:
    """Sums over a batch.

    terms: what is minimised, one differentiable sum for each unit.
    parts: detached sums for the log, by metric name.
    """

    terms: Mapping[Per, Tensor]
    parts: Mapping[str, tuple[Tensor, Per]]


class Method(nn.Module, ABC):
    """A distillation method; its own parameters, if any, are trained beside the student's."""

    @property
    @abstractmethod
    def views(self) -> tuple[View, ...]:
        """Target sequences that `forward` reads."""

    @property
    def soft_view(self) -> View | None:
        """The view whose teacher distributions `forward` reads."""
        return None

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return 1.0

    @abstractmethod
    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""

    def after_update(self, averages: Mapping[str, float]) -> Mapping[str, float]:
        """See the update's averaged parts, the same on every worker. -> metrics for the log."""
        return averages


def packed_states(student: Transformer, batch: Batch, view: View, *, memory_BSD: Tensor) -> Tensor:
    """Decoder states at the real positions of a view. -> [N, D]."""
    target = batch.targets[view]
    hidden_BTD = student.decode(target.inputs_BT, memory_BSD, batch.src_mask_BS)
    return hidden_BTD.flatten(0, 1).index_select(0, target.positions_N)


def sentence_sums(values_N: Tensor, target: Target, *, sentences: int) -> Tensor:
    """Sum of a per-position value over each sentence. -> [B]."""
    return values_N.new_zeros(sentences).index_add_(0, target.sentence_N, values_N)
