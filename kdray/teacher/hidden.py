"""The teacher's last decoder states on disk: whole distributions, at any temperature.

Beside what every form has, a folder holds for each member m of the teacher `states_<m>.npy`
[positions, D], float16; the output matrices, [V, D] float32 each, once in `output.safetensors`; and
where the members of an ensemble weigh differently from pair to pair, `log_weights.npy` [pairs, M].
A shard is such a folder too, but only the first one has the output matrices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdray.errors import DataError, StageFailed
from kdray.methods.targets import DenseTargets, Member
from kdray.teacher.stored import (
    Layout,
    Read,
    StoredRows,
    check_shapes,
    load_arrays,
    new_array,
    places_of,
    save_arrays,
)
from kdray.text.batching import Rows
from kdray.text.sequences import Ints

OUTPUT, LOG_WEIGHTS = "output.safetensors", "log_weights"


@dataclass(frozen=True, slots=True)
class Hidden:
    """Stored states of some pairs; arrays are memory maps. See the module."""

    pair_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    states: tuple[NDArray[np.float16], ...]
    weights_VD: tuple[Tensor, ...]
    log_weights: NDArray[np.float32] | None = None

    @classmethod
    def load(cls, folder: Path) -> "Hidden":
        """Map the arrays of a folder and read its output matrices.

        Raises:
            DataError: one is missing or damaged, or their shapes disagree.
        """
        weights = _load_output(folder)
        names = ["pair_ids", "offsets", *(states_name(m) for m in range(len(weights)))]
        if (folder / f"{LOG_WEIGHTS}.npy").exists():
            names.append(LOG_WEIGHTS)
        found = dict(zip(names, load_arrays(folder, names, form="hidden"), strict=True))
        pairs, offsets = found["pair_ids"].size, found["offsets"]
        positions = int(offsets[-1]) if offsets.size else 0
        needed: dict[str, tuple[int, ...]] = {"offsets": (pairs + 1,)}
        for m, weight in enumerate(weights):
            needed[states_name(m)] = (positions, weight.size(1))
        if LOG_WEIGHTS in found:
            needed[LOG_WEIGHTS] = (pairs, len(weights))
        check_shapes(folder, found, needed)
        return cls(
            pair_ids=np.asarray(found["pair_ids"]),
            offsets=np.asarray(offsets),
            states=tuple(found[states_name(m)] for m in range(len(weights))),
            weights_VD=weights,
            log_weights=found.get(LOG_WEIGHTS),
        )

    def rows(self, order: Rows) -> StoredRows:
        """A view in which row i is row order[i] here."""
        return StoredRows(self, order)

    def targets(self, rows: Rows, *, temperature: float) -> DenseTargets:
        """Whole distributions at all positions of the given rows, one row after another."""
        places = places_of(self.offsets, rows)
        members = tuple(
            Member(torch.from_numpy(states[places].astype(np.float32)), weight)
            for states, weight in zip(self.states, self.weights_VD, strict=True)
        )
        log_weights = None
        if self.log_weights is not None:
            of_rows = np.repeat(self.log_weights[rows], np.diff(self.offsets)[rows], axis=0)
            log_weights = torch.from_numpy(of_rows)
        return DenseTargets(members, temperature, log_weights)


class HiddenWriter:
    """Keeps the decoder states from which the teacher speaks.

    Args:
        layout: what is to be filled.
        weights_VD: output matrix of each member.
        first: whether this is the shard that has the output matrices.
        weighted: whether the members weigh differently from pair to pair.
    """

    def __init__(
        self, layout: Layout, weights_VD: Sequence[Tensor], *, first: bool, weighted: bool
    ) -> None:
        self.layout = layout
        self.states: list[Ints] = [
            new_array(
                layout.folder / f"{states_name(m)}.npy",
                dtype=np.float16,
                shape=(layout.positions, weight.size(1)),
            )
            for m, weight in enumerate(weights_VD)
        ]
        shape = (len(layout.pair_ids), len(weights_VD))
        self.log_weights = np.zeros(shape, dtype=np.float32) if weighted else None
        if first:
            save_output(layout.folder, weights_VD)

    def put(self, read: Read) -> None:
        """Take in what the teacher says of some pairs.

        Raises:
            StageFailed: a state is too large for float16.
        """
        places = self.layout.places(read.rows)
        for states, member in zip(self.states, read.teacher.members, strict=True):
            rounded = member.hidden_ND.half()
            if not bool(rounded.isfinite().all()):
                raise StageFailed(
                    f"{self.layout.folder}: a decoder state of the teacher is beyond ±65504, the "
                    "range of float16; store topk or sampled, or use the teacher online"
                )
            states[places] = rounded.cpu().numpy()
        if self.log_weights is not None:
            assert read.log_weights_BM is not None, "they are weighed for every pair or for none"
            self.log_weights[read.rows] = read.log_weights_BM.cpu().numpy()

    def finish(self) -> Mapping[str, float]:
        """Write what is not on disk yet. -> nothing to count."""
        for states in self.states:
            if isinstance(states, np.memmap):
                states.flush()
        arrays: dict[str, Ints] = {"pair_ids": self.layout.pair_ids, "offsets": self.layout.offsets}
        if self.log_weights is not None:
            arrays[LOG_WEIGHTS] = self.log_weights
        save_arrays(self.layout.folder, arrays)
        return {}


def states_name(member: int) -> str:
    """The array that holds the states of a member."""
    return f"states_{member}"


def save_output(folder: Path, weights_VD: Sequence[Tensor]) -> None:
    """Write the output matrices that `Hidden.load` reads."""
    matrices = {
        f"{m:04d}": weight.detach().cpu().float().clone() for m, weight in enumerate(weights_VD)
    }
    save_file(matrices, folder / OUTPUT)


def _load_output(folder: Path) -> tuple[Tensor, ...]:
    try:
        stored = load_file(folder / OUTPUT)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder}: not readable as hidden distributions: {error}") from None
    return tuple(stored[name] for name in sorted(stored))
