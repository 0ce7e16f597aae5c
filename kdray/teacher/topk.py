"""Top-k distributions on disk: exact over the kept entries, the rest as one mass.

Beside what every form has, a folder holds, for P positions, K kept entries, T temperatures:
`temperatures.npy` [T]; `ids.npy` [P, K] and `logp.npy` [P, K], float16 at temperature 1, in rank
order; `log_tail.npy` [P, T], float32, the log mass outside the top K at each temperature;
`label_rank.npy` [P], the target token's place among the kept entries, K if it has none; and
`log_label.npy` [P, T], float16, the target token's own log-probability, which is read only where it
has none. Kept entries are rescaled to 1 − tail when read, which removes what float16 rounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.config.signals import TopKConfig
from kdray.jobs import Counts
from kdray.methods.targets import SoftTargets
from kdray.teacher.stored import Layout, Read, Stored, check_shapes, id_dtype, load_arrays
from kdray.text.batching import Rows
from kdray.text.sequences import Ints

LEAST = -65504.0  # of float16
ARRAYS = ("temperatures", "ids", "logp", "log_tail", "label_rank", "log_label")


@dataclass(frozen=True, slots=True)
class TopK(Stored):
    """See the module."""

    temperatures: NDArray[np.float64]
    ids: Ints
    logp: NDArray[np.float16]
    log_tail: NDArray[np.float32]
    label_rank: Ints
    log_label: NDArray[np.float16]

    @classmethod
    def load(cls, folder: Path) -> "TopK":
        """Map the arrays of a folder.

        Raises:
            DataError: one is missing or damaged, or their shapes disagree.
        """
        arrays, p = load_arrays(folder, ARRAYS, form="top-k")
        k, t = arrays["ids"].shape[-1] if arrays["ids"].ndim else 0, arrays["temperatures"].size
        shapes = {"temperatures": (t,), "ids": (p, k), "logp": (p, k)}
        shapes |= {"log_tail": (p, t), "label_rank": (p,), "log_label": (p, t)}
        check_shapes(folder, arrays, **shapes)
        return cls(folder, **arrays)

    def targets(self, rows: Rows, *, temperature: float) -> SoftTargets:
        """Soft targets at all positions of the given rows, one row after another."""
        places = self.places(rows)
        column = self.temperatures.tolist().index(temperature)  # the config was checked for this
        log_tail = torch.from_numpy(np.ascontiguousarray(self.log_tail[places, column]))
        logp = at_temperature(
            torch.from_numpy(self.logp[places].astype(np.float32)),
            log_tail,
            temperature=temperature,
        )
        return SoftTargets(
            ids_NK=torch.from_numpy(self.ids[places].astype(np.int64)),
            logp_NK=logp,
            log_tail_N=log_tail,
            temperature=temperature,
            log_label_N=self._log_label(places, column, logp, log_tail),
        )

    def _log_label(self, places: Rows, column: int, logp_NK: Tensor, log_tail_N: Tensor) -> Tensor:
        """From the kept entry if there is one; else as stored, and never more than the tail."""
        k = logp_NK.size(1)
        rank = torch.from_numpy(self.label_rank[places].astype(np.int64))
        kept = logp_NK.gather(1, rank.clamp(max=k - 1)[:, None]).squeeze(1)
        stored = torch.from_numpy(self.log_label[places, column].astype(np.float32))
        return torch.where(rank < k, kept, stored.minimum(log_tail_N))


def write_topk(
    layout: Layout, reads: Iterable[Read], config: TopKConfig, *, vocabulary: int
) -> Counts:
    """Keep the top k of what the teacher says. -> mass of the kept entries, over positions."""
    positions, temperatures = layout.positions, len(config.temperatures)
    arrays: dict[str, Ints] = {
        "ids": np.zeros((positions, config.k), dtype=id_dtype(vocabulary)),
        "logp": np.zeros((positions, config.k), dtype=np.float16),
        "log_tail": np.zeros((positions, temperatures), dtype=np.float32),
        "label_rank": np.zeros(positions, dtype=id_dtype(config.k + 1)),
        "log_label": np.zeros((positions, temperatures), dtype=np.float16),
    }
    for read in reads:
        places = layout.places(read.rows)
        for block, part in read.teacher.blocks():
            logits, labels = block.logits(), read.labels_N[part]
            kept = compress(logits, labels, k=config.k, temperatures=config.temperatures)
            for name, values in kept._asdict().items():
                arrays[name][places[part]] = values.cpu().numpy()
    layout.save(arrays | {"temperatures": np.array(config.temperatures, dtype=np.float64)})
    return {"kept_mass": float((1 - np.exp(arrays["log_tail"][:, 0])).sum())}


def at_temperature(logp_NK: Tensor, log_tail_N: Tensor, *, temperature: float) -> Tensor:
    """Kept log-probabilities at a temperature, scaled to the mass the tail leaves. -> [N, K]."""
    raised = logp_NK / temperature
    log_head = torch.log1p(-log_tail_N.exp().clamp(max=1 - 1e-7))
    return raised - raised.logsumexp(1, keepdim=True) + log_head[:, None]


class Kept(NamedTuple):
    """What is stored at N positions, before it is rounded; named as in `TopK`."""

    ids: Tensor  # [N, K]
    logp: Tensor  # [N, K]
    log_tail: Tensor  # [N, temperatures]
    label_rank: Tensor  # [N], K where the label is not kept
    log_label: Tensor  # [N, temperatures]


def compress(logits_NV: Tensor, labels_N: Tensor, *, k: int, temperatures: Sequence[float]) -> Kept:
    """Top k of each row, the mass of the rest, and the label's own probability.

    The tail is summed over the other entries, not taken as 1 − head, which would cancel.
    """
    logits = logits_NV.float()
    top, ids = logits.topk(k, dim=1)
    rest = logits.scatter(1, ids, -torch.inf)
    label = logits.gather(1, labels_N[:, None]).squeeze(1)
    norms = [(logits / t).logsumexp(1) for t in temperatures]
    tails = [(rest / t).logsumexp(1) - norm for t, norm in zip(temperatures, norms, strict=True)]
    labels = [label / t - norm for t, norm in zip(temperatures, norms, strict=True)]
    is_label = ids == labels_N[:, None]
    return Kept(
        ids=ids,
        logp=top - logits.logsumexp(1, keepdim=True),
        log_tail=torch.stack(tails, dim=1),
        label_rank=torch.where(is_label.any(1), is_label.int().argmax(1), k),
        log_label=torch.stack(labels, dim=1).clamp(min=LEAST),
    )
