"""What a step's job can be, by its shape. A job is plain data that can be pickled.

It names what it reads by `Source` and is given a `fetch` that turns one into a local folder. It
knows neither Ray, nor MLflow, nor where artifacts are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from kdray.artifacts import Fetch, Key

Counts = Mapping[str, Any]
NOTES = "notes"
"""Under this name, counts hold sentences that a person should read, now and in the report."""
Build = Callable[[int, int, Path], Counts]
"""Makes rows start to stop into a folder. -> counts."""


class Job(Protocol):
    """What every job tells of itself."""

    @property
    def key(self) -> Key:
        """What it makes."""

    @property
    def reads(self) -> tuple[Key, ...]:
        """The artifacts that it fetches. They have to be there before."""


@runtime_checkable
class Whole(Job, Protocol):
    """Made in one go, by one process."""

    is_light: ClassVar[bool]
    """Whether the driver makes it; else a process on the cluster, with all CPUs of a node."""

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Fill the folder of the artifact. -> counts for its record."""


class Cut(Protocol):
    """Work that is cut into ranges, which a pool of processes makes in any order."""

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Make ready, in a folder, what all processes share. -> the number of rows."""

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> Build:
        """What one process makes shards with; called once in each."""


@runtime_checkable
class Sharded(Job, Cut, Protocol):
    """Made row range by row range, by a pool of processes, and then joined."""

    @property
    def on_gpu(self) -> bool:
        """Whether a process gains from a GPU."""

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Put all shards together, which stand in the order of their rows. -> counts."""


@runtime_checkable
class Continuing(Sharded, Protocol):
    """Sharded, and its rows do not depend on one another: an earlier artifact may hold some."""

    def continues(self, content: Mapping[str, Any]) -> bool:
        """Whether an artifact of the same stage with such content holds rows that can be taken."""


class Phase(Cut, Protocol):
    """One of several works, made one after another, which hand over in a work folder.

    Its shards are in the folder of its name there, each of one row.
    """

    @property
    def name(self) -> str:
        """Names its folder."""


@runtime_checkable
class Phased(Whole, Protocol):
    """Made in one go where there is little to do, and else in phases, with the same result."""

    def size(self, fetch: Fetch) -> int:
        """Bytes on the disk of what it goes through; 0 if it can be made only in one go."""

    def phases(self) -> Sequence[Phase]:
        """The phases, in order."""

    def join(self, work: Path, folder: Path, fetch: Fetch) -> Counts:
        """Fill the folder of the artifact from what the phases left. -> counts for its record."""
