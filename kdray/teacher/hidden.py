"""The teacher's last decoder states on disk: whole distributions, at any temperature.

Beside what every form has, a folder holds for each member m of the teacher `states_<m>.npy`
[positions, D], float16; the output matrices, [V, D] float32 each, once in `output.safetensors`; and
where the members of an ensemble weigh differently from pair to pair, `log_weights.npy` [pairs, M].
A shard is such a folder too, but only the first one has the output matrices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdray.errors import DataError, StageFailed
from kdray.jobs import Counts
from kdray.methods.targets import DenseTargets, Member
from kdray.teacher.stored import Layout, Read, Stored, check_shapes, load_arrays, new_array
from kdray.text.batching import Rows

OUTPUT, LOG_WEIGHTS = "output.safetensors", "log_weights"


@dataclass(frozen=True, slots=True)
class Hidden(Stored):
    """See the module."""

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
        states = [states_name(m) for m in range(len(weights))]
        others = [LOG_WEIGHTS] if (folder / f"{LOG_WEIGHTS}.npy").exists() else []
        arrays, positions = load_arrays(folder, [*states, *others], form="hidden")
        pair_ids, offsets = arrays["pair_ids"], arrays["offsets"]
        shapes = {name: (positions, w.size(1)) for name, w in zip(states, weights, strict=True)}
        shapes |= {name: (pair_ids.size, len(weights)) for name in others}
        check_shapes(folder, arrays, **shapes)
        of_members = tuple(arrays[name] for name in states)
        return cls(folder, pair_ids, offsets, of_members, weights, arrays.get(LOG_WEIGHTS))

    def targets(self, rows: Rows, *, temperature: float) -> DenseTargets:
        """Whole distributions at all positions of the given rows, one row after another."""
        places = self.places(rows)
        members = tuple(
            Member(torch.from_numpy(states[places].astype(np.float32)), weight)
            for states, weight in zip(self.states, self.weights_VD, strict=True)
        )
        log_weights = None
        if self.log_weights is not None:
            of_rows = np.repeat(self.log_weights[rows], np.diff(self.offsets)[rows], axis=0)
            log_weights = torch.from_numpy(of_rows)
        return DenseTargets(members, temperature, log_weights)


def write_hidden(
    layout: Layout,
    reads: Iterable[Read],
    weights_VD: Sequence[Tensor],
    *,
    first: bool,
    weighted: bool,
) -> Counts:
    """Keep the decoder states from which the teacher speaks. -> nothing to count.

    Args:
        layout: what is to be filled.
        reads: what the teacher says.
        weights_VD: output matrix of each member.
        first: whether this is the shard that has the output matrices.
        weighted: whether the members weigh differently from pair to pair.

    Raises:
        StageFailed: a state is too large for float16.
    """
    states = [
        new_array(
            layout.folder / f"{states_name(m)}.npy",
            dtype=np.float16,
            shape=(layout.positions, weight.size(1)),
        )
        for m, weight in enumerate(weights_VD)
    ]
    log_weights = np.zeros((len(layout.pair_ids), len(weights_VD)), dtype=np.float32)
    for read in reads:
        places = layout.places(read.rows)
        for of_member, member in zip(states, read.teacher.members, strict=True):
            rounded = member.hidden_ND.half()
            if not bool(rounded.isfinite().all()):
                raise StageFailed(
                    f"{layout.folder}: a decoder state of the teacher is beyond ±65504, the "
                    "range of float16; store topk or sampled, or use the teacher online"
                )
            of_member[places] = rounded.cpu().numpy()
        if weighted:
            assert read.log_weights_BM is not None, "they are weighed for every pair or for none"
            log_weights[read.rows] = read.log_weights_BM.cpu().numpy()
    for of_member in states:
        of_member.flush()
    layout.save({LOG_WEIGHTS: log_weights} if weighted else {})
    if first:
        matrices = [weight.detach().cpu().float().clone() for weight in weights_VD]
        named = {f"{m:04d}": matrix for m, matrix in enumerate(matrices)}
        save_file(named, layout.folder / OUTPUT)
    return {}


def states_name(member: int) -> str:
    """The array that holds the states of a member."""
    return f"states_{member}"


def _load_output(folder: Path) -> tuple[Tensor, ...]:
    try:
        stored = load_file(folder / OUTPUT)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder}: not readable as hidden distributions: {error}") from None
    return tuple(stored[name] for name in sorted(stored))
