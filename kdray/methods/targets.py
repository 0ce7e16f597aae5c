"""The teacher's distributions at target positions: a few entries and a tail, or whole.

Shapes: N positions, K kept entries, V vocabulary, D a teacher's width, M teachers of an ensemble.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from kdray.model.device import moved
from kdray.model.precision import product_dtype, widened

BLOCK_BYTES = 8 << 20  # of float32 logits at a time; a loss holds two to eight such blocks
GPU_BLOCK_BYTES = 128 << 20  # where the launch of a kernel costs more than its way to memory
PIECE_BYTES = 1 << 20  # of them, where one thread goes over the same numbers many times


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Sparse distributions at N positions, at temperature T.

    ids_NK: kept entries, distinct within a row. logp_NK: their log-probabilities at T.
    log_tail_N: log-probability of all other entries together; −inf when there are none.
    log_label_N: log-probability at T of the target token itself, where it is known.
    """

    ids_NK: Tensor
    logp_NK: Tensor
    log_tail_N: Tensor
    temperature: float = 1.0
    log_label_N: Tensor | None = None

    def part(self, rows: slice) -> Self:
        """Some of the positions."""
        return self._each(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> Self:
        """The same distributions on another device."""
        return self._each(lambda tensor: moved(tensor, device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        members = {each.name: getattr(self, each.name) for each in fields(self)}
        changed: dict[str, Any] = {
            name: change(v) for name, v in members.items() if isinstance(v, Tensor)
        }
        return replace(self, **changed)

    def cast_for_products(self) -> Self:
        """Unchanged: sparse targets enter no matrix product."""
        return self

    def entropy(self) -> Tensor:
        """−Σ p log p over the kept entries and the bucket, in nats. -> [N]."""
        return -_p_log_p(self.logp_NK).sum(1) - _p_log_p(self.log_tail_N)

    def log_labels(self, labels_N: Tensor) -> Tensor:
        """Log-probability of each target token. -> [N]."""
        assert self.log_label_N is not None, "the config was checked for this"
        return self.log_label_N

    def one_sided(self) -> Self:
        """The same distributions, for a student at temperature 1."""
        return replace(self, temperature=1.0)


@dataclass(frozen=True, slots=True)
class Member:
    """The last decoder states of one teacher at N positions, and its output matrix."""

    hidden_ND: Tensor
    weight_VD: Tensor

    def cast(self) -> Self:
        """In the precision of matrix products."""
        dtype = product_dtype(self.weight_VD)
        return replace(self, hidden_ND=self.hidden_ND.to(dtype), weight_VD=self.weight_VD.to(dtype))


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """Whole distributions at N positions, made from decoder states a block at a time.

    An ensemble's probabilities are averaged: with equal weights, or exp(log_weights_NM).
    temperature: T of teacher and student. own_temperature: a further one, of the teacher alone.
    """

    members: tuple[Member, ...]
    temperature: float = 1.0
    log_weights_NM: Tensor | None = None
    own_temperature: float = 1.0

    def part(self, rows: slice) -> Self:
        """Some of the positions."""
        weights = None if self.log_weights_NM is None else self.log_weights_NM[rows]
        chosen = tuple(replace(m, hidden_ND=m.hidden_ND[rows]) for m in self.members)
        return replace(self, members=chosen, log_weights_NM=weights)

    def to(self, device: torch.device) -> Self:
        """The same distributions on another device."""
        weights = self.log_weights_NM
        members = tuple(
            Member(moved(m.hidden_ND, device), moved(m.weight_VD, device)) for m in self.members
        )
        weights = None if weights is None else moved(weights, device)
        return replace(self, members=members, log_weights_NM=weights)

    def cast_for_products(self) -> Self:
        """The same in the precision of matrix products, cast once and not in every block."""
        return replace(self, members=tuple(member.cast() for member in self.members))

    def logits(self) -> Tensor:
        """Logits of the teacher; for an ensemble, the log of its mean probabilities. -> [N, V]."""
        each = [widened(m.hidden_ND @ m.weight_VD.T) for m in self.members]
        if len(each) == 1:
            return each[0]
        logp_NMV = torch.stack([logits.log_softmax(1) for logits in each], dim=1)
        if self.log_weights_NM is None:
            return logp_NMV.logsumexp(1)  # less log M, which no softmax sees
        return (logp_NMV + self.log_weights_NM[:, :, None]).logsumexp(1)

    def log_probs(self) -> Tensor:
        """Log-probabilities at T. -> [N, V]."""
        return self.scaled_logits().log_softmax(1)

    def scaled_logits(self) -> Tensor:
        """Logits over T, in memory of their own. -> [N, V]."""
        temperature = self.temperature * self.own_temperature
        return self.logits() if temperature == 1.0 else self.logits().div_(temperature)

    def one_sided(self) -> Self:
        """The same distributions, for a student at temperature 1."""
        raised = self.temperature * self.own_temperature
        return replace(self, temperature=1.0, own_temperature=raised)

    def entropy(self) -> Tensor:
        """−Σ p log p in nats. -> [N]."""
        return torch.cat([-_p_log_p(block.log_probs()).sum(1) for block, _ in self.blocks()])

    def log_labels(self, labels_N: Tensor) -> Tensor:
        """Log-probability of each target token. -> [N]."""
        return torch.cat(
            [
                block.log_probs().gather(1, labels_N[rows, None]).squeeze(1)
                for block, rows in self.blocks()
            ]
        )

    def blocks(self) -> Iterator[tuple[Self, slice]]:
        """Parts whose logits fit the cache, and where they are."""
        first = self.members[0]
        positions, vocabulary = first.hidden_ND.size(0), first.weight_VD.size(0)
        device = first.hidden_ND.device
        for rows in row_blocks(positions, vocabulary=vocabulary, device=device):
            yield self.part(rows), rows


TeacherTargets = SoftTargets | DenseTargets


def row_blocks(positions: int, *, vocabulary: int, device: torch.device) -> Iterator[slice]:
    """Slices of positions whose logits fit the cache; at least one, which may be empty."""
    size = BLOCK_BYTES if device.type == "cpu" else GPU_BLOCK_BYTES
    rows = max(16, size // (4 * vocabulary))
    for start in range(0, max(positions, 1), rows):
        yield slice(start, min(start + rows, positions))


def pieces(rows: int, *, vocabulary: int, device: torch.device) -> list[slice]:
    """Slices of a block that fit a core's own cache; one of all rows where no core is alone.

    Several threads share each operation, and would wait for one another after every little one.
    """
    size = max(1, PIECE_BYTES // (4 * vocabulary))
    if device.type != "cpu" or torch.get_num_threads() > 1 or rows <= size:
        return [slice(0, rows)]
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _p_log_p(log_p: Tensor) -> Tensor:
    return torch.where(log_p.isinf(), 0.0, log_p.exp() * log_p)
