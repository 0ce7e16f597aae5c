"""What a student learns from: pairs, teacher translations and distributions, joined by pair_id."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.config.needs import Needs
from kdray.methods.base import Batch, Method, Per
from kdray.methods.online import OnlineTeacher
from kdray.methods.sequences import build_target
from kdray.methods.targets import TeacherTargets
from kdray.model.device import moved
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.batching import BatchPlan, Rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import PAD


class Distributions(Protocol):
    """Stored teacher distributions at every target position of some pairs."""

    def targets(self, rows: Rows, *, temperature: float) -> TeacherTargets:
        """Distributions at all positions of the given rows, one row after another."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Training pairs. Row i of every member is the same pair, or a translation of it.

    Attributes:
        pair_ids: names of the rows; a pair with several translations has several rows.
        src: source ids, with `</s>`.
        views: target ids, with `</s>`, for each view that a method reads.
        distributions: stored teacher distributions for views; row i there is row i here.
        left_out: pairs of the corpus that are not here, counted by reason.
        teacher: the teacher itself, where nothing stored serves.
    """

    pair_ids: NDArray[np.int64]
    src: Sequences
    views: Mapping[View, Sequences]
    distributions: Mapping[View, Distributions]
    left_out: Mapping[str, int]
    teacher: OnlineTeacher | None = None

    def __len__(self) -> int:
        return len(self.pair_ids)

    def plan(self, *, tokens_per_update: int, seed: int) -> BatchPlan:
        """The order of updates; tokens of the first view are counted."""
        first = next(iter(self.views.values()))
        return BatchPlan(
            src_lengths=self.src.lengths,
            tgt_lengths=first.lengths,
            tokens_per_update=tokens_per_update,
            seed=seed,
        )

    def counts(self, rows: Rows) -> dict[Per, int]:
        """What the sums over these rows are divided by."""
        tokens = {
            Per.token_of(view): int(ids.lengths[rows].sum()) for view, ids in self.views.items()
        }
        return {**tokens, Per.SENTENCE: len(rows)}

    def batch(self, rows: Rows, *, device: torch.device) -> Batch:
        """Padded tensors of some rows, before the teacher is read."""
        src = moved(torch.from_numpy(self.src.padded(rows, pad=PAD)), device)
        targets = {view: build_target(ids, rows, device=device) for view, ids in self.views.items()}
        return Batch(src_BS=src, src_mask_BS=src != PAD, targets=targets, teacher=self.teacher)

    def learned(
        self, rows: Rows, method: Method[Any], student: Transformer, *, device: torch.device
    ) -> Batch:
        """What a method learns of some rows, with all that it makes and reads; call it no_grad."""
        batch = method.prepare(student, self.batch(rows, device=device))
        return self.with_teacher(batch, rows, method.needs)

    def with_teacher(self, batch: Batch, rows: Rows, needs: Needs) -> Batch:
        """The batch with the distributions that a method reads, from storage or the teacher."""
        targets = dict(batch.targets)
        memories: list[Tensor] | None = None
        for view in needs.distributions:
            if view not in targets:
                continue  # a sequence that the student makes only in some updates
            read: TeacherTargets
            if view in self.distributions:
                stored = self.distributions[view].targets(rows, temperature=needs.temperature)
                read = stored.to(batch.src_BS.device)
            else:
                assert self.teacher is not None, "the config was checked for this"
                memories = memories or self.teacher.encode(batch.src_BS, batch.src_mask_BS)
                read = self.teacher.read(
                    batch.src_BS,
                    batch.src_mask_BS,
                    targets[view].inputs_BT,
                    targets[view].positions_N,
                    temperature=needs.temperature,
                    memories=memories,
                )
            targets[view] = replace(targets[view], teacher=read.cast_for_products())
        return replace(batch, targets=targets)
