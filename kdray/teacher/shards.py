"""Work cut into shards: row ranges that are fixed before work starts and done one by one.

A shard is a folder that is whole or does not exist, with checksums of its files. What a killed run
finished is kept, and the next run makes only the shards that are missing or damaged, whatever its
own width is.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kdray.artifacts import read_json, write_json
from kdray.errors import StageFailed
from kdray.jobs import Build
from kdray.storage.disk import disk_errors
from kdray.storage.record import RECORD as RECORD
from kdray.storage.sealed import remove_broken, seal
from kdray.storage.whole import whole

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Row ranges [start, stop) that cover all rows once, and where their results are."""

    folder: Path
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def open(cls, folder: Path, *, rows: int, shard_rows: int) -> Self:
        """The plan that a run before this one wrote, or a new one."""
        path = folder / PLAN
        if not path.exists():
            starts = range(0, rows, shard_rows)
            write_json(path, [(start, min(start + shard_rows, rows)) for start in starts])
        stored = read_json(path)
        return cls(folder, tuple((start, stop) for start, stop in stored))

    def rows(self, index: int) -> int:
        """How many rows a shard has."""
        start, stop = self.ranges[index]
        return stop - start

    def path(self, index: int) -> Path:
        """Where a finished shard is, or will be."""
        return self.folder / f"{index:06d}"

    def missing(self) -> list[int]:
        """The numbers of the shards that are not finished."""
        return [index for index in range(len(self.ranges)) if not self.is_made(index)]

    def is_made(self, index: int) -> bool:
        """Whether a shard is finished."""
        return (self.path(index) / RECORD).exists()

    def finished(self) -> list[Path]:
        """The folders of finished shards, in the order of their rows."""
        shards = [self.path(index) for index in range(len(self.ranges))]
        return [shard for shard in shards if (shard / RECORD).exists()]

    def make(self, index: int, build: Build) -> None:
        """Build a shard, which is whole or does not exist."""
        place, (start, stop) = self.path(index), self.ranges[index]
        if not (place / RECORD).exists():
            shutil.rmtree(place, ignore_errors=True)  # damaged: a shard has its record
        with disk_errors(place), whole(place, record=RECORD) as folder:
            counts = build(start, stop, folder)
            seal(folder, start=start, stop=stop, counts=counts)

    def drop_damaged(self) -> list[str]:
        """Remove finished shards that are not what was written. -> what was wrong with each.

        All files of a shard are read, unless this process has verified them before.
        """
        each = (remove_broken(self.path(index)) for index in range(len(self.ranges)))
        return [wrong for wrong in each if wrong is not None]

    def prove(self) -> None:
        """Look, before shards are put together, whether all are what was written.

        Raises:
            StageFailed: one is not. It is removed.
        """
        if wrong := self.drop_damaged():
            raise StageFailed(
                f"{'; '.join(wrong)}. What was damaged after it was made is removed; run the same "
                "command again, which makes it anew"
            )

    def record(self, index: int) -> dict[str, Any]:
        """What a finished shard says of itself: its rows and its counts."""
        return dict(read_json(self.path(index) / RECORD))

    def counts(self) -> list[dict[str, Any]]:
        """What each finished shard says of itself, in the same order."""
        return [dict(read_json(shard / RECORD)["counts"]) for shard in self.finished()]
