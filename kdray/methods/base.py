"""What every distillation method is: a batch and a student in, sums of losses out.

A method never divides. It returns sums, each with the count it is to be divided by, and the
training loop divides once by the global count of the update: so micro-batches and workers change
nothing. Shapes: B sentences, T target positions, N real target positions of a batch in one row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn

from kdray.methods.online import OnlineTeacher
from kdray.methods.targets import TeacherTargets
from kdray.model.precision import widened
from kdray.model.transformer import Transformer
from kdray.schema import View


class Per(StrEnum):
    """What a sum is divided by: a count over the whole update, over all workers."""

    REFERENCE = "reference tokens"
    HYPOTHESIS = "hypothesis tokens"
    STUDENT = "student tokens"
    SENTENCE = "sentences"

    @classmethod
    def token_of(cls, view: View) -> "Per":
        """The unit of a loss over the tokens of a view."""
        return cls[view.name]


@dataclass(frozen=True, slots=True)
class Target:
    """One target sequence for each sentence of a batch, and its real positions in one row.

    inputs_BT: `<s>` and all tokens but the last, padded. positions_N: where the real positions are
    in the flattened [B·T]. labels_N: the token to predict there. sentence_N: its row in the batch.
    teacher: the teacher's distributions at those positions, if the method reads any.
    """

    inputs_BT: Tensor
    positions_N: Tensor
    labels_N: Tensor
    sentence_N: Tensor
    teacher: TeacherTargets | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentence pairs, padded, with the target views that a method reads.

    teacher: the teacher itself, for methods that ask it about sequences of their own.
    """

    src_BS: Tensor
    src_mask_BS: Tensor
    targets: Mapping[View, Target]
    teacher: OnlineTeacher | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """When a batch is learned: update number `step`, counted from 1, of `updates`; its epoch."""

    step: int = 1
    updates: int = 1
    epoch: int = 0

    @property
    def progress(self) -> float:
        """The share of updates that were made before this one."""
        return (self.step - 1) / self.updates


@dataclass(frozen=True, slots=True)
class Loss:
    """Sums over a batch.

    terms: what is minimised, one differentiable sum for each unit.
    parts: detached sums for the log, by metric name.
    samples: detached values [any] that `after_update` is to see from all workers.
    """

    terms: Mapping[Per, Tensor]
    parts: Mapping[str, tuple[Tensor, Per]]
    samples: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def sum(cls, losses: "Sequence[Loss]") -> "Loss":
        """Of several batches that the same method learned in one update."""
        first, *others = losses
        if not others:
            return first
        return cls(
            terms={
                per: torch.stack([loss.terms[per].detach() for loss in losses]).sum()
                for per in first.terms
            },
            parts={
                name: (torch.stack([loss.parts[name][0] for loss in losses]).sum(), per)
                for name, (_, per) in first.parts.items()
            },
            samples={
                name: torch.cat([loss.samples[name] for loss in losses]) for name in first.samples
            },
        )

    def nothing(self) -> "Loss":
        """The same sums over no batch."""
        return Loss(
            terms={per: 0 * total for per, total in self.terms.items()},
            parts={name: (0 * total, per) for name, (total, per) in self.parts.items()},
            samples={name: values[:0] for name, values in self.samples.items()},
        )


class Method(nn.Module, ABC):
    """A distillation method; its own parameters, if any, are trained beside the student's."""

    clock = Clock()

    @property
    @abstractmethod
    def views(self) -> tuple[View, ...]:
        """Stored target sequences that `forward` reads."""

    @property
    def reads(self) -> tuple[View, ...]:
        """The views whose teacher distributions `forward` reads."""
        return ()

    @property
    def temperature(self) -> float:
        """Temperature of those distributions."""
        return 1.0

    def begin(self, clock: Clock) -> None:
        """Be told which update comes next."""
        self.clock = clock

    def prepare(self, student: Transformer, batch: Batch) -> Batch:
        """Add sequences that the student makes itself; called without gradient."""
        return batch

    @abstractmethod
    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""

    def after_update(
        self, averages: Mapping[str, float], samples: Mapping[str, Tensor]
    ) -> Mapping[str, float]:
        """See the update's averaged parts and all its samples, the same on every worker.

        -> metrics for the log.
        """
        return averages


def packed_states(student: Transformer, batch: Batch, view: View, *, memory_BSD: Tensor) -> Tensor:
    """Decoder states at the real positions of a view, float32 at least. -> [N, D]."""
    target = batch.targets[view]
    hidden_BTD = student.decode(target.inputs_BT, memory_BSD, batch.src_mask_BS)
    return widened(hidden_BTD.flatten(0, 1).index_select(0, target.positions_N))


def teacher_of(batch: Batch, view: View) -> TeacherTargets:
    """The teacher's distributions on a view that the method said it reads."""
    teacher = batch.targets[view].teacher
    assert teacher is not None, f"nobody read the teacher on {view}"
    return teacher


def sentence_sums(values_N: Tensor, target: Target, *, sentences: int) -> Tensor:
    """Sum of a per-position value over each sentence. -> [B]."""
    return values_N.new_zeros(sentences).index_add_(0, target.sentence_N, values_N)


def sentence_means(values_N: Tensor, target: Target, *, sentences: int) -> Tensor:
    """Mean of a per-position value over each sentence. -> [B]."""
    counts = sentence_sums(values_N.new_ones(values_N.shape), target, sentences=sentences)
    return sentence_sums(values_N, target, sentences=sentences) / counts
