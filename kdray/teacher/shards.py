"""Work cut into shards: row ranges that are fixed before work starts and done one by one.

A shard is a folder that is whole or does not exist. What a killed run finished is kept, and the
next run makes only the shards that are missing, whatever its own width is.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import write_json

PLAN, RECORD = "plan.json", "record.json"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Row ranges [start, stop) that cover all rows once, and where their results are."""

    folder: Path
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def open(cls, folder: Path, *, rows: int, shard_rows: int) -> "ShardPlan":
        """The plan that a run before this one wrote, or a new one."""
        path = folder / PLAN
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, tuple((start, stop) for start, stop in stored))
        ranges = tuple((i, min(i + shard_rows, rows)) for i in range(0, rows, shard_rows))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, ranges)
        return cls(folder, ranges)

    def path(self, index: int) -> Path:
        """Where a finished shard is."""
        return self.folder / f"{index:06d}"

    def missing(self) -> list[int]:
        """Shards without a record."""
        return [i for i in range(len(self.ranges)) if not (self.path(i) / RECORD).exists()]

    def make(self, index: int, build: Callable[[int, int, Path], Mapping[str, Any]]) -> None:
        """Build a shard aside, write its record last, and move it to its place."""
        aside = self.folder / f".{index:06d}-{uuid.uuid4().hex[:8]}"
        aside.mkdir(parents=True)
        try:
            start, stop = self.ranges[index]
            counts = build(start, stop, aside)
            write_json(aside / RECORD, {"start": start, "stop": stop, "counts": counts})
            try:
                os.replace(aside, self.path(index))  # noqa: PTH105 (fails on a full folder)
            except OSError:
                if not (self.path(index) / RECORD).exists():  # another actor was as fast
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def shards(self) -> list[Path]:
        """Where all shards are, in order."""
        return [self.path(index) for index in range(len(self.ranges))]

    def counts(self) -> list[dict[str, Any]]:
        """What each finished shard says of itself, in order."""
        done = [i for i in range(len(self.ranges)) if (self.path(i) / RECORD).exists()]
        records = [(self.path(i) / RECORD).read_text(encoding="utf-8") for i in done]
        return [dict(json.loads(record)["counts"]) for record in records]
