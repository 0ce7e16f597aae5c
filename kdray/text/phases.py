"""Large training text, prepared in phases whose parts many processes make side by side.

1. Reading: each part of the source becomes blocks of pairs.
2. Judging: each block by itself; hashes of its sound pairs go to partitions.
3. Ranking: in each partition all equal pairs meet, and so it is known which came before which.
4. Settling: each block, with what the partitions say of its pairs, becomes rows of the tables.

What they compute is what one process computes (`kdray.text.preparation`), by the same functions, so
rows, files and counts are the same. What a phase leaves behind are shards in a work folder. Each
process holds a block, or a partition's hashes; whoever joins the tables holds a row group.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.artifacts import Fetch
from kdray.config.text import FilesCorpusConfig
from kdray.jobs import Build, Counts
from kdray.schema import Column, Split
from kdray.text.corpus_building import (
    build_held_out,
    corpus_counts,
    names_files,
    place_of,
    prove_unique,
    read_held_out,
    train_parts,
)
from kdray.text.duplicates import ranks_among
from kdray.text.judged_files import partition_of, read_judged, write_judged
from kdray.text.judging import Block, judge
from kdray.text.preparation import Tables, blocks_of_part, capped
from kdray.text.sequences import read_table, write_table
from kdray.text.settling import Tally, settle

PARTITION_ROWS = 4_000_000
"""About how many hashes a partition has, of 24 bytes each."""
PAIRS, KEPT, DROPPED = "pairs.arrow", "kept.arrow", "dropped.arrow"


@dataclass(frozen=True, slots=True)
class Shards:
    """The finished shards of a phase and what each says of itself, in order."""

    folders: Sequence[Path]
    counts: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, work: Path, phase: str) -> "Shards":
        """Those in a work folder."""
        folders = sorted(path.parent for path in (work / phase).glob("[0-9]*/record.json"))
        records = [json.loads((folder / "record.json").read_bytes()) for folder in folders]
        return cls(folders, [record["counts"] for record in records])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block that was read is, and what is known of it beside its pairs.

    `most`: how many of its pairs the cap of its source admits.
    """

    path: Path
    first_line: int
    source: str
    file: str
    most: int | None

    def without_pairs(self) -> Block:
        """What is known of it beside its pairs."""
        return Block((), self.first_line, self.source, self.file)

    def block(self) -> Block:
        """Its pairs from the disk."""
        table = read_table(self.path)
        pairs = list(zip(table[Column.SRC].to_pylist(), table[Column.REF].to_pylist(), strict=True))
        block = replace(self.without_pairs(), pairs=pairs)
        return block if self.most is None else capped(block, self.most)


def places(config: FilesCorpusConfig, work: Path) -> list[_Place]:
    """All blocks that the first phase wrote, in order."""
    parts, read = train_parts(config), Shards.of(work, Reading.name)
    names, found, before = names_files(parts), list[_Place](), dict[str, int]()
    for part, folder, counts in zip(parts, read.folders, read.counts, strict=True):
        line = part.first_line
        for number, rows in enumerate(counts["rows"]):
            so_far = before.get(part.name, 0)
            most = None if part.most is None else part.most - so_far
            file = part.place if names else ""
            path = folder / f"{number:06d}" / PAIRS
            found.append(_Place(path, line, part.name, file, most))
            line, before[part.name] = line + rows, so_far + rows
    return found


@dataclass(frozen=True, slots=True)
class Reading:
    """Parts of the source, each from its start to its end, to blocks of pairs."""

    config: FilesCorpusConfig
    name: ClassVar[str] = "reading"

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """-> the number of parts. Dev and tests are looked at before the first is read."""
        read_held_out(self.config)
        return len(train_parts(self.config))

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """Reads some parts."""
        return self._read

    def _read(self, start: int, stop: int, folder: Path) -> Counts:
        (part,) = train_parts(self.config)[start:stop]
        rows = []
        for number, block in enumerate(blocks_of_part(part, names_files=False)):
            place = folder / f"{number:06d}"
            place.mkdir()
            sides = [pa.array([pair[side] for pair in block.pairs], pa.string()) for side in (0, 1)]
            write_table(place / PAIRS, pa.table(sides, names=[Column.SRC, Column.REF]))
            rows.append(len(block.pairs))
        return {"rows": rows}


@dataclass(frozen=True, slots=True)
class Judging:
    """Each block by itself."""

    config: FilesCorpusConfig
    name: ClassVar[str] = "judging"

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """-> the number of blocks."""
        return len(places(self.config, work))

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """Judges some blocks."""
        held_out, blocks = read_held_out(self.config), places(self.config, work)
        rows = sum(sum(counts["rows"]) for counts in Shards.of(work, Reading.name).counts)

        def build(start: int, stop: int, folder: Path) -> Counts:
            judged = judge(blocks[start].block(), self.config.cleaning, held_out)
            write_judged(folder, judged, partitions=partitions_of(rows))
            return {"sound": len(judged.ids)}

        return build


@dataclass(frozen=True, slots=True)
class Ranking:
    """How many equal pairs come before each, partition by partition of their hashes."""

    config: FilesCorpusConfig
    name: ClassVar[str] = "ranking"

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """-> the number of partitions."""
        read = Shards.of(work, Reading.name).counts
        return partitions_of(sum(sum(counts["rows"]) for counts in read))

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """Ranks some partitions."""
        return partial(self._rank, Shards.of(work, Judging.name).folders)

    def _rank(self, judged: Sequence[Path], start: int, stop: int, folder: Path) -> Counts:
        digests = [np.zeros((0, 2), dtype=np.uint64)]
        rows, blocks = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for number, path in enumerate(judged):
            of_block, where = partition_of(path, start)
            digests.append(of_block)
            rows.append(where)
            blocks.append(np.full(len(where), number))
        ranks = ranks_among(np.concatenate(digests))
        repeats = np.flatnonzero(ranks)
        found = (np.concatenate(blocks)[repeats], np.concatenate(rows)[repeats], ranks[repeats])
        np.save(folder / "repeats.npy", np.stack(found))
        return {"repeats": np.bincount(found[0], minlength=len(judged)).tolist()}


@dataclass(frozen=True, slots=True)
class Settling:
    """Each block, with the ranks of its pairs, to rows of the tables."""

    config: FilesCorpusConfig
    name: ClassVar[str] = "settling"

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """-> the number of blocks."""
        return len(places(self.config, work))

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """Settles some blocks."""
        judged, ranked = Shards.of(work, Judging.name), Shards.of(work, Ranking.name)
        drops_repeats = self.config.cleaning.drop_duplicates
        kept = np.array([counts["sound"] for counts in judged.counts], dtype=np.int64)
        if drops_repeats:
            kept -= np.sum([counts["repeats"] for counts in ranked.counts], axis=0, dtype=np.int64)
        before = np.cumsum(kept) - kept
        blocks, limit = places(self.config, work), self.config.max_train_pairs

        def build(start: int, stop: int, folder: Path) -> Counts:
            block = read_judged(judged.folders[start], blocks[start].without_pairs())
            ranks = np.zeros(len(block.ids), dtype=np.int64)
            for path in ranked.folders:
                of_block, rows, numbers = np.load(path / "repeats.npy", mmap_mode="r")
                begin, end = np.searchsorted(of_block, (start, start + 1))
                ranks[rows[begin:end]] = numbers[begin:end]
            room = None if limit is None else max(0, limit - int(before[start]))
            settled = settle(block, ranks, drops_repeats=drops_repeats, room=room)
            write_table(folder / KEPT, settled.kept)
            write_table(folder / DROPPED, settled.dropped)
            return settled.tally.plain()

        return build


Phase = Reading | Judging | Ranking | Settling


def phases(config: FilesCorpusConfig) -> tuple[Phase, ...]:
    """All phases in order; each reads what those before it left in the work folder."""
    return Reading(config), Judging(config), Ranking(config), Settling(config)


def join_corpus(config: FilesCorpusConfig, work: Path, folder: Path) -> dict[str, Any]:
    """Write the tables of a corpus from what the phases left. -> counts; see `build_corpus`.

    Raises:
        DataError: see `build_corpus`.
    """
    held_out, totals = build_held_out(config, folder)
    settled, tally = Shards.of(work, Settling.name), Tally()
    with Tables(folder) as tables:
        for shard, counts in zip(settled.folders, settled.counts, strict=True):
            tables.add(read_table(shard / KEPT), read_table(shard / DROPPED))
            tally.add(Tally.of_plain(counts))
    _prove_all_unique(settled.folders, rows=tally.kept.total())
    place = place_of(train_parts(config))
    return corpus_counts(config, held_out, totals, tally, place=f"{Split.TRAIN} ({place})")


def partitions_of(rows: int) -> int:
    """How many partitions the hashes of so many pairs have."""
    return max(1, -(-rows // PARTITION_ROWS))


def _prove_all_unique(shards: Sequence[Path], *, rows: int) -> None:
    """Raise DataError if two rows have the same id. Looks at a range of ids at a time."""
    passes = np.uint64(partitions_of(rows))
    width = np.uint64(2**63) // passes + np.uint64(1)
    for number in range(int(passes)):
        some = [ids[ids.astype(np.uint64) // width == number] for ids in map(_ids, shards)]
        ids = np.sort(np.concatenate(some)) if some else np.zeros(0, dtype=np.int64)
        if (ids[1:] == ids[:-1]).any():
            prove_unique(np.concatenate([np.array(_ids(shard)) for shard in shards]), Split.TRAIN)


def _ids(shard: Path) -> NDArray[np.int64]:
    return np.asarray(read_table(shard / KEPT)[Column.PAIR_ID].to_numpy())
