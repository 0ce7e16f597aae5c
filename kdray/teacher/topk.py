"""Top-k distributions on disk: exact over the kept entries, the rest as one mass.

A folder holds `pair_ids.npy`, `offsets.npy` (row i has positions offsets[i] to offsets[i+1]),
`ids.npy` [positions, k], `logp.npy` [positions, k] in float16 at temperature 1, rank order, and
`log_tail.npy` [positions, temperatures] in float32: the log mass outside the top k at each stored
temperature. Kept entries are rescaled to 1 − tail when read, which removes what float16 rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kdray.errors import DataError
from kdray.methods.kernel import SoftTargets
from kdray.text.batching import Rows
from kdray.text.sequences import Ints, Sequences


@dataclass(frozen=True, slots=True)
class TopK:
    """Stored distributions of some pairs; arrays are memory maps."""

    pair_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    ids: Ints
    logp: NDArray[np.float16]
    log_tail: NDArray[np.float32]
    temperatures: tuple[float, ...]

    @classmethod
    def load(cls, folder: Path, *, temperatures: Sequence[float]) -> "TopK":
        """Map the arrays of a folder.

        Raises:
            DataError: one is missing or damaged, or their shapes disagree.
        """
        try:
            pair_ids, offsets, ids, logp, log_tail = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("pair_ids", "offsets", "ids", "logp", "log_tail")
            )
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{folder}: not readable as top-k distributions: {error}") from None
        positions = int(offsets[-1]) if offsets.size else 0
        k = ids.shape[-1] if ids.ndim else 0
        needed = [(pair_ids.size + 1,), (positions, k), (positions, k)]
        needed.append((positions, len(temperatures)))
        if [array.shape for array in (offsets, ids, logp, log_tail)] != needed:
            raise DataError(
                f"{folder}: offsets, ids, logp and log_tail are {offsets.shape}, {ids.shape}, "
                f"{logp.shape} and {log_tail.shape}, but {pair_ids.size} pairs with {positions} "
                f"positions at {len(temperatures)} temperatures need {needed}; remove the folder "
                "and run again"
            )
        return cls(np.asarray(pair_ids), np.asarray(offsets), ids, logp, log_tail,
                   tuple(temperatures))  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the arrays that `load` maps."""
        for name in ("pair_ids", "offsets", "ids", "logp", "log_tail"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    def rows(self, rows: Rows) -> "StoredRows":
        """A view in which row i is row rows[i] here."""
        return StoredRows(self, rows)

    def positions(self, rows: Rows) -> NDArray[np.int64]:
        """All positions of the given rows, one row after another."""
        return Sequences(self.ids, self.offsets).places(rows)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some rows of stored distributions, in another order: what a student's rows need."""

    stored: TopK
    order: Rows

    def targets(self, rows: Rows, *, temperature: float) -> SoftTargets:
        """Soft targets at all positions of the given rows, one row after another."""
        places = self.stored.positions(self.order[rows])
        column = self.stored.temperatures.index(temperature)
        log_tail = torch.from_numpy(np.ascontiguousarray(self.stored.log_tail[places, column]))
        logp = torch.from_numpy(self.stored.logp[places].astype(np.float32))
        return SoftTargets(
            ids_NK=torch.from_numpy(self.stored.ids[places].astype(np.int64)),
            logp_NK=at_temperature(logp, log_tail, temperature=temperature),
            log_tail_N=log_tail,
            temperature=temperature,
        )


def at_temperature(
    logp_NK: torch.Tensor, log_tail_N: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Kept log-probabilities at a temperature, scaled to the mass the tail leaves. -> [N, K]."""
    raised = logp_NK / temperature
    log_head = torch.log1p(-log_tail_N.exp().clamp(max=1 - 1e-7))
    return raised - raised.logsumexp(1, keepdim=True) + log_head[:, None]


def compress(
    logits_NV: torch.Tensor, *, k: int, temperatures: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Top k of each row. -> ids [N, K], log-probabilities [N, K], log tails [N, temperatures].

    The tail is summed over the other entries, not taken as 1 − head, which would cancel.
    """
    logits = logits_NV.float()
    top, ids = logits.topk(k, dim=1)
    logp = top - logits.logsumexp(1, keepdim=True)
    rest = logits.scatter(1, ids, -torch.inf)
    tails = [(rest / t).logsumexp(1) - (logits / t).logsumexp(1) for t in temperatures]
    return ids, logp, torch.stack(tails, dim=1)
