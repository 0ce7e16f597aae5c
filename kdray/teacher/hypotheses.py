"""Teacher translations on disk: one Arrow row for each hypothesis, best first within a pair."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdray.schema import Column
from kdray.text.sequences import Sequences, read_table

FILE = "hypotheses.arrow"


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """The best hypothesis of each pair."""

    pair_ids: NDArray[np.int64]
    ids: Sequences
    finished: NDArray[np.bool_]

    @classmethod
    def load(cls, folder: Path) -> "Hypotheses":
        """Read a published artifact.

        Raises:
            DataError: the file is missing or damaged.
        """
        table = read_table(folder / FILE)
        best = np.flatnonzero(table[Column.HYP_RANK].to_numpy() == 0)
        ids = Sequences.from_column(table[Column.HYP_IDS])
        return cls(
            pair_ids=table[Column.PAIR_ID].to_numpy()[best],
            ids=ids if len(best) == len(ids) else ids.take(best),
            finished=table[Column.FINISHED].to_numpy(zero_copy_only=False)[best],
        )
