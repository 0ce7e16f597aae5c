"""Translations that the same teacher made, in the same way, of the sources of another corpus.

A corpus that grew, or was cleaned in another way, has another fingerprint, and so have its
translations. Those of sources that both have are taken from the earlier artifact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key, read_json, write_json
from kdray.errors import ArtifactDamaged, DataError
from kdray.schema import Column
from kdray.teacher.engine import Translation
from kdray.teacher.hypotheses import read_translations
from kdray.text.batching import Rows
from kdray.text.pieces import pieces_of

FILE = "earlier.json"


def note_earlier(work: Path, keys: Sequence[Key]) -> tuple[Key, ...]:
    """Write down, once for all processes, which artifacts hold translations that can be taken.

    Returns:
        Those that are written down, now or by an earlier command.
    """
    if not (work / FILE).exists():
        contents = [{"stage": key.stage, **key.content()} for key in keys]
        write_json(work / FILE, contents)
    return _noted(work)


def _noted(work: Path) -> tuple[Key, ...]:
    contents = read_json(work / FILE) if (work / FILE).exists() else []
    return tuple(Key(**content) for content in contents)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The tables, and where the translations of each source begin in them.

    hashes: of the sources, sorted. tables_of, rows: the table and the row of each one's best.
    """

    tables: tuple[pa.Table, ...]
    hashes: NDArray[np.int64]
    tables_of: Rows
    rows: Rows

    @classmethod
    def load(cls, work: Path, fetch: Fetch, *, pieces: str | None = None) -> Self:
        """Those that were written down in a folder, as far as they are still there and whole.

        pieces: the checksum of the tokenizer whose ids the teacher gives; tables of
            others, and those that do not say whose ids they hold, are left out.
        """
        tables: list[pa.Table] = []
        hashes, tables_of, rows = [], [], []
        for key in _noted(work):
            try:
                table = read_translations(fetch(key))
            except (ArtifactDamaged, DataError):
                continue
            if pieces_of(table) != pieces:
                continue
            best = np.flatnonzero(table[Column.HYP_RANK].to_numpy() == 0)
            hashes.append(table[Column.SRC_HASH].to_numpy()[best])
            tables_of.append(np.full(len(best), len(tables)))
            rows.append(best)
            tables.append(table)
        all_hashes = np.concatenate([np.zeros(0, np.int64), *hashes])
        order = np.argsort(all_hashes, kind="stable")
        places = (np.concatenate([np.zeros(0, np.int64), *each]) for each in (tables_of, rows))
        return cls(tuple(tables), all_hashes[order], *(place[order] for place in places))

    def of(self, hashes: NDArray[np.int64]) -> dict[int, list[Translation]]:
        """The translations of the sources with these hashes, by row, as far as there are some."""
        if not len(self.hashes):
            return {}
        places = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        known = np.flatnonzero(self.hashes[places] == hashes)
        return {int(row): self._best(int(places[row])) for row in known}

    def _best(self, place: int) -> list[Translation]:
        table, row = self.tables[int(self.tables_of[place])], int(self.rows[place])
        ranks = table[Column.HYP_RANK]
        stop = row + 1
        while stop < table.num_rows and ranks[stop].as_py() > 0:
            stop += 1
        return [
            Translation(
                each[Column.HYP],
                each[Column.HYP_SCORE],
                finished=each[Column.FINISHED],
                ids=each.get(Column.HYP_IDS),
            )
            for each in table.slice(row, stop - row).to_pylist()
        ]
