"""How fast shards are made: sentences and tokens a second, processes at work, time left."""

import time
from dataclasses import dataclass, field
from typing import Self

SILENT = 3.0  # times what a shard takes; a process that was not heard of for so long is not at work


@dataclass(slots=True)
class Pace:
    """What was made of some rows since a command began with them.

    Attributes:
        rows: all of them.
        before: those that were there when it began.
        made: those that were made since.
        tokens: in what was made, as far as records count them.
        heard: when each process last finished a shard.
    """

    rows: int
    before: int
    began: float
    made: int = 0
    tokens: int = 0
    shards: int = 0
    heard: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: int, *, left: int) -> Self:
        """The pace of a command that begins now, with so many rows left."""
        return cls(rows, rows - left, time.monotonic())

    def add(self, rows: int, *, tokens: int, worker: str) -> None:
        """A process has finished a shard."""
        self.made += rows
        self.tokens += tokens
        self.shards += 1
        if worker:
            self.heard[worker] = time.monotonic()

    @property
    def done(self) -> int:
        """Rows that are there."""
        return self.before + self.made

    @property
    def seconds(self) -> float:
        """Since the command began, the start of its processes included."""
        return max(time.monotonic() - self.began, 1e-9)

    @property
    def at_work(self) -> int:
        """Processes that are not silent for longer than some shards take."""
        of_a_shard = self.seconds * len(self.heard) / max(self.shards, 1)
        now = time.monotonic()
        return sum(now - last <= SILENT * of_a_shard for last in self.heard.values())

    @property
    def seconds_left(self) -> float:
        """If it goes on as fast."""
        return (self.rows - self.done) * self.seconds / max(self.made, 1)

    @property
    def note(self) -> str:
        """In words: what a bar does not show by itself."""
        tokens = f"{self.tokens / self.seconds:.0f} tokens/s, " if self.tokens else ""
        return f"{tokens}{self.at_work} processes" if self.heard else tokens.rstrip(", ")

    def row(self) -> dict[str, float]:
        """For a curve in MLflow, at the number of rows that are there."""
        return {
            "step": self.done,
            "time": time.time(),
            "decode/sentences_per_second": self.made / self.seconds,
            "decode/tokens_per_second": self.tokens / self.seconds,
            "decode/processes": self.at_work,
            "decode/seconds_left": self.seconds_left,
        }
