"""What a student learns from: pairs, teacher translations and distributions, joined by pair_id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kdray.methods.base import Batch, Per, Target
from kdray.methods.kernel import SoftTargets
from kdray.schema import View
from kdray.text.batching import BatchPlan, Rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, PAD


class Distributions(Protocol):
    """Teacher distributions at every target position of some pairs."""

    def targets(self, rows: Rows, *, temperature: float) -> SoftTargets:
        """Soft targets at all positions of the given rows, one row after another."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Training pairs. Row i of every member is the same pair.

    Attributes:
        pair_ids: names of the rows.
        src: source ids, with `</s>`.
        views: target ids, with `</s>`, for each view that a method reads.
        distributions: teacher distributions for views; row i there is row i here.
        left_out: pairs of the corpus that are not here, counted by reason.
    """

    pair_ids: NDArray[np.int64]
    src: Sequences
    views: Mapping[View, Sequences]
    distributions: Mapping[View, Distributions]
    left_out: Mapping[str, int]

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

    def batch(
        self, rows: Rows, *, soft_view: View | None, temperature: float, device: torch.device
    ) -> Batch:
        """Padded tensors of some rows."""
        src = torch.from_numpy(self.src.padded(rows, pad=PAD)).to(device, non_blocking=True)
        targets = {}
        for view, ids in self.views.items():
            soft = None
            if view is soft_view:
                soft = to_device(
                    self.distributions[view].targets(rows, temperature=temperature), device
                )
            targets[view] = build_target(ids, rows, device=device, soft=soft)
        return Batch(src_BS=src, src_mask_BS=src != PAD, targets=targets)


def build_target(
    ids: Sequences, rows: Rows, *, device: torch.device, soft: SoftTargets | None = None
) -> Target:
    """Decoder inputs and labels for target sequences that end with `</s>`."""
    lengths = ids.lengths[rows]
    padded = ids.padded(rows, pad=PAD)
    longest = padded.shape[1]
    inputs = np.concatenate((np.full((len(rows), 1), BOS), padded[:, :-1]), axis=1)
    real = np.arange(longest)[None, :] < lengths[:, None]
    sentence = np.repeat(np.arange(len(rows)), lengths)

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)

    return Target(
        inputs_BT=tensor(inputs),
        positions_N=tensor(np.flatnonzero(real)),
        labels_N=tensor(padded[real]),
        sentence_N=tensor(sentence),
        soft=soft,
    )


def to_device(soft: SoftTargets, device: torch.device) -> SoftTargets:
    """The same targets on another device."""
    return SoftTargets(
        ids_NK=soft.ids_NK.to(device, non_blocking=True),
        logp_NK=soft.logp_NK.to(device, non_blocking=True),
        log_tail_N=soft.log_tail_N.to(device, non_blocking=True),
        temperature=soft.temperature,
    )
