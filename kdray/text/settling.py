"""What becomes of judged pairs once it is known which came before, and what that sums to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.schema import Column
from kdray.text.cleaning import READ, Drop
from kdray.text.corpus import PAIR_SCHEMA
from kdray.text.judging import REASONS, SOUND, Judged, pair_id

_DUPLICATE = REASONS.index(Drop.DUPLICATE)
DROP_SCHEMA = pa.schema(
    [("line", pa.int64())] + [(name, pa.string()) for name in ("reason", Column.SRC, Column.REF)]
)
SOURCE = pa.field(Column.SOURCE, pa.string())
FILE = pa.field("file", pa.string())


@dataclass(slots=True)
class Tally:
    """Sums over training pairs that add up, block by block.

    Attributes:
        kept: pairs of each source in a mixture, whose name is empty without one.
        by_script: scripts of both sides -> how many were READ, and dropped for each reason.
        matched: what read pairs (False) and kept ones (True) have in common with dev and test.
    """

    unread: int = 0
    words: list[int] = field(default_factory=lambda: [0, 0])
    entropy: float = 0.0
    kept: Counter[str] = field(default_factory=Counter)
    by_script: dict[str, Counter[str]] = field(default_factory=dict)
    matched: dict[bool, set[int]] = field(default_factory=lambda: {False: set(), True: set()})

    @property
    def read(self) -> int:
        """How many pairs were judged."""
        return sum(counts[READ] for counts in self.by_script.values())

    @property
    def drops(self) -> dict[str, int]:
        """How many were dropped for each reason."""
        every = self.by_script.values()
        return {reason.value: sum(counts[reason] for counts in every) for reason in Drop}

    def add(self, other: "Tally") -> None:
        """Take in the sums over the pairs that follow."""
        self.unread += other.unread
        self.words = [mine + more for mine, more in zip(self.words, other.words, strict=True)]
        self.entropy += other.entropy
        self.kept.update(other.kept)
        for scripts, counts in other.by_script.items():
            self.by_script.setdefault(scripts, Counter()).update(counts)
        for kept, numbers in other.matched.items():
            self.matched[kept] |= numbers

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "unread": self.unread,
            "words": self.words,
            "kept": dict(self.kept),
            "by_script": {scripts: dict(counts) for scripts, counts in self.by_script.items()},
            "matched": [sorted(self.matched[kept]) for kept in (False, True)],
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Tally":
        """From JSON values."""
        return cls(
            unread=plain["unread"],
            words=list(plain["words"]),
            kept=Counter(plain["kept"]),
            by_script={scripts: Counter(c) for scripts, c in plain["by_script"].items()},
            matched={kept: set(plain["matched"][kept]) for kept in (False, True)},
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows of a block that are kept, those that are dropped, and their sums."""

    kept: pa.Table
    dropped: pa.Table
    tally: Tally


def settle(
    judged: Judged, ranks: NDArray[np.int64], *, drops_repeats: bool, room: int | None
) -> Settled:
    """Decide about each pair of a block.

    Args:
        judged: the block.
        ranks: of each pair without fault, how many equal ones were kept before it. [F]
        drops_repeats: whether those with a rank above 0 are dropped, or named by it.
        room: how many pairs may be kept; those behind the last one are unread.
    """
    block, faults = judged.block, judged.faults.copy()
    sound = np.flatnonzero(faults == SOUND)
    if drops_repeats:
        faults[sound[ranks > 0]] = _DUPLICATE
    kept = np.flatnonzero(faults == SOUND)
    stop = len(faults)
    if room is not None and len(kept) >= room:
        stop = int(kept[room - 1]) + 1 if room else 0
        kept = kept[:room]
    ids = judged.ids.copy()
    if not drops_repeats:
        for place in np.flatnonzero(ranks):
            src, ref = block.pairs[sound[place]]
            ids[place] = pair_id(src, ref, occurrence=int(ranks[place]))
    places = np.searchsorted(sound, kept)
    tally = _sums(judged, faults[:stop], kept, places)
    tally.unread = block.unread + len(faults) - stop
    dropped = np.flatnonzero(faults[:stop] != SOUND)
    return Settled(
        _kept_table(judged, kept, ids[places]), _drop_table(judged, faults, dropped), tally
    )


def _sums(
    judged: Judged, faults: NDArray[np.uint8], kept: NDArray[np.int64], places: NDArray[np.int64]
) -> Tally:
    tally = Tally(words=judged.words[places].sum(axis=0).tolist())
    if len(judged.block.entropies):
        for row in kept.tolist():
            tally.entropy += judged.block.entropies[row]
    if len(kept):
        tally.kept[judged.block.source] = len(kept)
    for (scripts, place), count in Counter(
        zip(judged.scripts, faults.tolist(), strict=False)  # less than all are read
    ).items():
        counts = tally.by_script.setdefault(scripts, Counter())
        counts[READ] += count
        if place != SOUND:
            counts[REASONS[place].value] += count
    for row, number in judged.matches:
        if row < len(faults):
            tally.matched[False].add(number)
            if faults[row] == SOUND:
                tally.matched[True].add(number)
    return tally


def _kept_table(judged: Judged, rows: NDArray[np.int64], ids: NDArray[np.int64]) -> pa.Table:
    block = judged.block
    pairs = [block.pairs[row] for row in rows.tolist()]
    columns = [pa.array(ids), *_sides(pairs)]
    if not block.source:
        return pa.table(columns, schema=PAIR_SCHEMA)
    columns.append(pa.array([block.source] * len(pairs), pa.string()))
    return pa.table(columns, schema=PAIR_SCHEMA.append(SOURCE))


def _drop_table(judged: Judged, faults: NDArray[np.uint8], rows: NDArray[np.int64]) -> pa.Table:
    block = judged.block
    pairs = [block.pairs[row] for row in rows.tolist()]
    reasons = [REASONS[place].value for place in faults[rows].tolist()]
    columns = [pa.array(rows + block.first_line), pa.array(reasons, pa.string()), *_sides(pairs)]
    if not block.file:
        return pa.table(columns, schema=DROP_SCHEMA)
    columns.append(pa.array([block.file] * len(pairs), pa.string()))
    return pa.table(columns, schema=DROP_SCHEMA.append(FILE))


def _sides(pairs: list[tuple[str, str]]) -> list[pa.Array]:
    return [pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1)]
