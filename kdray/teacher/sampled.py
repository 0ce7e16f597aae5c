"""Draws from the teacher on disk: unbiased where a top k is not (Anshumann et al. 2025).

At each position N tokens are drawn with replacement, and their counts are kept: the mean of
count/N over draws is the teacher's distribution, so a loss that is linear in it is unbiased, with
a handful of entries a position. Beside what every form has, a folder holds, for P positions and E
entries, `distinct.npy` [P], uint8, the number of distinct tokens at each position, and one position
after another `ids.npy` [E] and `counts.npy` [E], uint8.

Each pair has a random stream of its own, so its draws do not depend on the shard or the batch that
it is in (beyond the rounding of the teacher's own arithmetic).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.config.signals import SampledConfig
from kdray.errors import ConfigError, DataError
from kdray.jobs import Counts
from kdray.methods.targets import SoftTargets
from kdray.seeds import derive_seed
from kdray.teacher.stored import Layout, Read, Stored, check_shapes, id_dtype, load_arrays
from kdray.text.batching import Rows
from kdray.text.sequences import Ints, offsets_of

with np.errstate(divide="ignore"):
    LOG_OF_COUNT = np.log(np.arange(256, dtype=np.float32))
"""Of a count of draws; there are 255 at most."""


@dataclass(frozen=True, slots=True)
class Sampled(Stored):
    """See the module. starts: where each position's entries begin, and the last one's end [P+1]."""

    distinct: NDArray[np.uint8]
    ids: Ints
    counts: NDArray[np.uint8]
    starts: NDArray[np.int64]

    @classmethod
    def load(cls, folder: Path) -> "Sampled":
        """Map the arrays of a folder.

        Raises:
            DataError: one is missing or damaged, or their shapes disagree.
        """
        names = ("distinct", "ids", "counts")
        arrays, positions = load_arrays(folder, names, form="sampled")
        starts = offsets_of(arrays["distinct"].reshape(-1))
        entries = (int(starts[-1]),)
        check_shapes(folder, arrays, distinct=(positions,), ids=entries, counts=entries)
        return cls(folder, **arrays, starts=starts)

    def targets(self, rows: Rows, *, temperature: float) -> SoftTargets:
        """Soft targets at all positions of the given rows, padded to the most distinct tokens.

        Raises:
            ConfigError: the temperature is not 1, at which the draws were made.
            DataError: a position has no draws, or more than can be stored.
        """
        if temperature != 1.0:
            raise ConfigError(
                f"signal sampled holds draws at temperature 1, not {temperature:g}; use topk or "
                "hidden for another temperature"
            )
        places = self.places(rows)
        distinct = self.distinct[places].astype(np.int64)
        column = np.arange(distinct.max(initial=1))[None, :]
        # Past a row's last entry, that entry is repeated with count 0.
        entries = self.starts[places][:, None] + np.minimum(column, distinct[:, None] - 1)
        ids = self.ids[entries].astype(np.int64)
        counts = np.where(column < distinct[:, None], self.counts[entries], np.uint8(0))
        draws = counts.sum(1, dtype=np.int64)
        if len(draws) and not 1 <= draws.min() <= draws.max() < len(LOG_OF_COUNT):
            raise DataError(
                f"{self.folder}: damaged signal sampled: {draws.min()} to {draws.max()} draws at a "
                "position, where 1 to 255 can be; remove the folder and run again"
            )
        logp = LOG_OF_COUNT[counts] - LOG_OF_COUNT[draws][:, None]
        return SoftTargets(
            ids_NK=torch.from_numpy(filled(ids, distinct)),
            logp_NK=torch.from_numpy(logp),
            log_tail_N=torch.full((len(places),), -torch.inf),
        )


def write_sampled(
    layout: Layout, reads: Iterable[Read], config: SampledConfig, *, vocabulary: int
) -> Counts:
    """Draw from what the teacher says. -> nothing to count."""
    shape = (layout.positions, config.draws)
    draws: Ints = np.zeros(shape, dtype=id_dtype(vocabulary))
    for read in reads:
        places, uniform = layout.places(read.rows), _uniform(layout, read.rows, config)
        uniform = uniform.to(read.labels_N.device)
        for block, part in read.teacher.blocks():
            draws[places[part]] = draw(block.logits(), uniform[part]).cpu().numpy()
    distinct, ids, counts = tally(draws)
    layout.save({"distinct": distinct, "ids": ids, "counts": counts})
    return {}


def _uniform(layout: Layout, rows: Rows, config: SampledConfig) -> Tensor:
    """Numbers in [0, 1) of each pair's own stream. -> [N, draws], float64."""
    lengths = np.diff(layout.offsets)[rows].tolist()
    streams = [
        np.random.default_rng(derive_seed(config.seed, pair_id)).random((length, config.draws))
        for pair_id, length in zip(layout.pair_ids[rows].tolist(), lengths, strict=True)
    ]
    return torch.from_numpy(np.concatenate([np.zeros((0, config.draws)), *streams]))


def draw(logits_NV: Tensor, uniform_ND: Tensor) -> Tensor:
    """Tokens of each row's distribution, one for each number in [0, 1), sorted. -> [N, D].

    The inverse of the distribution function, in float64: in float32 the small probabilities behind
    a large one would be lost.
    """
    up_to = logits_NV.double().softmax(1).cumsum(1)
    drawn = torch.searchsorted(up_to, uniform_ND * up_to[:, -1:], right=True)
    return drawn.clamp_(max=logits_NV.size(1) - 1).sort(1).values


def tally(drawn_ND: Ints) -> tuple[NDArray[np.uint8], Ints, NDArray[np.uint8]]:
    """Count sorted draws. -> distinct tokens of each row [N]; all of them, and their counts [E]."""
    new = np.ones(drawn_ND.shape, dtype=bool)
    new[:, 1:] = drawn_ND[:, 1:] != drawn_ND[:, :-1]
    first = np.flatnonzero(new)
    counts = np.diff(first, append=drawn_ND.size)
    return new.sum(1).astype(np.uint8), drawn_ND.reshape(-1)[first], counts.astype(np.uint8)


def filled(ids_NK: NDArray[np.int64], distinct_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids, and behind the first distinct_N of each row other ids that it does not have.

    Fillers are the highest ids of the batch; a row that has one of those gets the lowest free ids.
    """
    width = ids_NK.shape[1]
    column = np.arange(width)[None, :]
    lowest = int(ids_NK.max(initial=0)) + 1 - width
    result = np.where(column < distinct_N[:, None], ids_NK, lowest + column)
    rows = np.nonzero((ids_NK >= lowest).any(1))[0]
    result[rows] = _filled_with_lowest(ids_NK[rows], distinct_N[rows])
    return result


def _filled_with_lowest(
    ids_NK: NDArray[np.int64], distinct_N: NDArray[np.int64]
) -> NDArray[np.int64]:
    positions, width = ids_NK.shape
    column = np.arange(width)[None, :]
    real = column < distinct_N[:, None]
    taken = np.zeros((positions, width), dtype=bool)
    row, at = np.nonzero(real & (ids_NK < width))
    taken[row, ids_NK[row, at]] = True
    # Of the first `width` ids a row has as many free as it has places to fill, or more.
    free = np.argsort(taken, axis=1, kind="stable")
    filler = np.take_along_axis(free, np.maximum(column - distinct_N[:, None], 0), axis=1)
    return np.where(real, ids_NK, filler)
