"""Training text from its sources to its tables, block by block, in one process.

`kdray.text.phases` does the same for large text in many processes, with the same functions.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.config.text import CleaningConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Split
from kdray.text.cleaning import HeldOut, costs
from kdray.text.corpus import DROPS
from kdray.text.duplicates import Repeats, Seen
from kdray.text.judging import BLOCK_PAIRS, Block, judge
from kdray.text.parts import Part
from kdray.text.readers import read_part
from kdray.text.settling import Tally, settle

ROW_GROUP = 50_000


class Tables:
    """The two tables of training text: pairs that are kept, and pairs that are dropped.

    They consist of row groups of equal size, however the rows come, so equal rows are equal files.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = RowGroups(folder / f"{Split.TRAIN}.parquet")
        self._dropped = RowGroups(folder / DROPS)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._kept)
        self._open.enter_context(self._dropped)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, kept: pa.Table, dropped: pa.Table) -> None:
        """Append the rows of a block."""
        self._kept.add(kept)
        self._dropped.add(dropped)


class RowGroups:
    """A Parquet file that is written row group by row group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the rest, unless it has failed, and close the file."""
        if self._writer is not None:
            if kind is None and self._rows:
                self._write(self._rows)
            self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Append rows."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._waiting.append(table)
        self._rows += table.num_rows
        while self._rows >= ROW_GROUP:
            self._write(ROW_GROUP)

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        assert self._writer is not None, "it was given rows"
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._waiting, self._rows = [table.slice(rows)], self._rows - rows


def blocks_of(parts: Iterable[Part], *, names_files: bool) -> Iterator[Block]:
    """The pairs of all parts in blocks. Parts of a source with a cap count its pairs together."""
    counts: dict[str, int] = {}
    for part in parts:
        for block in blocks_of_part(part, names_files=names_files):
            before = counts.get(part.name, 0)
            counts[part.name] = before + len(block.pairs)
            yield block if part.most is None else capped(block, part.most - before)


def blocks_of_part(part: Part, *, names_files: bool) -> Iterator[Block]:
    """The pairs of one part in blocks, without its cap."""
    pairs, line = read_part(part), part.first_line
    file = part.place if names_files else ""
    while some := list(islice(pairs, BLOCK_PAIRS)):
        yield Block(some, line, part.name, file)
        line += len(some)


def capped(block: Block, most: int) -> Block:
    """The first so many pairs of a block; the others are unread."""
    kept = block.pairs[: max(0, most)]
    unread = len(block.pairs) - len(kept)
    return Block(kept, block.first_line, block.source, block.file, block.entropies, unread)


def prepare(
    blocks: Iterable[Block],
    cleaning: CleaningConfig,
    held_out: HeldOut,
    folder: Path,
    *,
    limit: int | None,
) -> tuple[Tally, NDArray[np.int64]]:
    """Clean training text and write its tables. -> sums, the pair_ids in order.

    `held_out` records what the text has in common with dev and test.
    """
    seen = Seen() if cleaning.drop_duplicates else Repeats()
    tally, ids, kept = Tally(), array("q"), 0
    with Tables(folder) as tables:
        for block in blocks:
            judged = judge(block, cleaning, held_out)
            settled = settle(
                judged,
                seen.ranks(judged.digests),
                drops_repeats=cleaning.drop_duplicates,
                room=None if limit is None else limit - kept,
            )
            tables.add(settled.kept, settled.dropped)
            tally.add(settled.tally)
            ids.frombytes(settled.kept["pair_id"].to_numpy().tobytes())
            kept += settled.kept.num_rows
    record(held_out, tally)
    return tally, np.frombuffer(ids, dtype=np.int64)


def record(held_out: HeldOut, tally: Tally) -> None:
    """Tell what the text has in common with dev and test."""
    for kept, numbers in tally.matched.items():
        held_out.record(numbers, kept=kept)


def train_counts(tally: Tally, sources: Sequence[str], *, place: str) -> dict[str, Any]:
    """What a corpus's record says of its training text. `sources`: names of those of a mixture.

    Raises:
        DataError: nothing was kept.
    """
    drops = tally.drops
    empty = [
        f"cleaning kept no pair of the source {name}; look at drops.parquet, or leave it out"
        for name in sources
        if not tally.kept[name]
    ]
    if not tally.kept.total():
        summary = ", ".join(f"{reason} {count}" for reason, count in drops.items() if count)
        raise DataError(
            f"{place}: cleaning kept 0 of {tally.read} pairs (dropped: {summary or 'none'}); "
            + ("loosen corpus.cleaning" if tally.read else "name a source that has some")
        )
    return {
        "train_read": tally.read,
        "train_unread": tally.unread,
        "drops": drops,
        "by_script": {scripts: dict(counts) for scripts, counts in tally.by_script.items()},
        **({"sources": {name: tally.kept[name] for name in sources}} if sources else {}),
        NOTES: [*costs(tally.by_script), *empty],
    }
