"""What every distillation method is: a batch and a student in, sums of losses out.

A method never divides. It returns sums, each with the count it is to be divided by, and the
training loop divides once by the global count of the update: so micro-batches and workers change
nothing. Shapes: B sentences, T target positions, N real target positions of a batch in one row.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar, final

import torch
from torch import Tensor, nn

from kdray.config.gates import BilevelConfig
from kdray.config.methods.base import BaseMethodConfig
from kdray.methods.online import OnlineTeacher
from kdray.methods.targets import TeacherTargets
from kdray.model.precision import widened
from kdray.model.transformer import Taps, Transformer
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
    """When a batch is learned: update number `step`, counted from 1, and its epoch.

    run_length: updates of the whole run; None where that is not told.
    """

    step: int = 1
    run_length: int | None = 1
    epoch: int = 0

    @property
    def updates(self) -> int:
        """Updates of the whole run, for methods that declare that they read it.

        Raises:
            RuntimeError: a method reads it that does not.
        """
        if self.run_length is None:
            raise RuntimeError(
                "the length of the run is read, and runs of several lengths would share a trunk "
                "as if it were not; declare it: `needs()` of the method's configuration must "
                "return Needs(..., run_length=True)"
            )
        return self.run_length

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


@dataclass(frozen=True, slots=True)
class DevStep:
    """Weights of two losses that learn from dev which loss helps more (`kdray.fit.bilevel`).

    config: how often and how they are stepped.
    parameters: what is stepped, by its names within the method.
    weights: those of a batch, with their gradient, [G].
    differences: for each weight the loss that it weighs less the loss that the rest weighs, each
        over its count of the update, without gradient, [G].
    """

    config: BilevelConfig
    parameters: Mapping[str, nn.Parameter]
    weights: Callable[[Transformer, Batch], Tensor]
    differences: Callable[[Transformer, Batch, Mapping[Per, int]], Tensor]


Config = TypeVar("Config", bound=BaseMethodConfig)
Metrics = Mapping[str, float]
"""Numbers of an update, by their names in the log."""
Samples = Mapping[str, Tensor]
"""Values of an update from all workers, by the names that `Loss.samples` gives them."""


class Method(nn.Module, ABC, Generic[Config]):
    """A distillation method; its own parameters, if any, are trained beside the student's.

    Args:
        config: its configuration.
        student: the student before its first update, beside which the method is built.
        teacher: the teacher, where it runs beside the student.
    """

    has_gate: ClassVar[bool] = False
    """Whether it weighs two losses of each sentence by a gate, which `sentence_gates` tells."""

    clock: Clock

    def __init__(
        self, config: Config, student: Transformer, teacher: OnlineTeacher | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.needs = config.needs()
        self.begin(Clock())

    @final
    def begin(self, clock: Clock) -> None:
        """Be told which update comes next; the length of the run only if that is declared."""
        self.clock = clock if self.needs.run_length else replace(clock, run_length=None)

    def prepare(self, student: Transformer, batch: Batch) -> Batch:
        """Add sequences that the student makes itself; called without gradient."""
        return batch

    @abstractmethod
    def forward(self, student: Transformer, batch: Batch) -> Loss:
        """Loss sums of a batch."""

    def after_update(self, averages: Metrics, samples: Samples) -> Metrics:
        """See the update's averaged parts and all its samples, the same on every worker.

        -> metrics for the log.
        """
        return averages

    def sentence_gates(self, student: Transformer, batch: Batch) -> Tensor:
        """Gate, token-level and sentence-level loss per token of each sentence. -> [B, 3]."""
        raise NotImplementedError(f"{type(self).__name__} has no gate")

    def dev_step(self) -> DevStep | None:
        """What learns from dev after an update, if anything does."""
        return None


def packed_states(
    student: Transformer,
    batch: Batch,
    view: View,
    *,
    memory_BSD: Tensor | None = None,
    taps: Taps | None = None,
) -> Tensor:
    """Decoder states at the real positions of a view, float32 at least. -> [N, D].

    memory_BSD: the encoder states, where another view has needed them before.
    """
    target = batch.targets[view]
    if memory_BSD is None:
        memory_BSD = student.encode(batch.src_BS, batch.src_mask_BS, taps=taps)
    hidden_BTD = student.decode(target.inputs_BT, memory_BSD, batch.src_mask_BS, taps=taps)
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
