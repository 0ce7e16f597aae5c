"""What a process has in hand, so that its death can be laid to the rows that it died with.

A process that is killed says nothing. Before it works on some rows of a shard it writes them down,
and the driver, which learns which process died, keeps them beside the shard: in the folder of the
shards, and in the storage too where nodes have no folder in common. Whoever makes the shard next
works with half the padded tokens in a batch, then with the suspects one by one, and
leaves out a row with which a process died alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import read_json, write_json
from kdray.model.memory import tokens_per_batch
from kdray.storage.parts import Parts

IN_HAND, DEATHS = "in-hand.json", "deaths.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a process to make a shard.

    deaths: the rows that processes before it had in hand when they died; empty if a process had
    not begun with rows. tokens: how many each of them might have in a batch. file: where this one
    writes down its own. parts: keep it where the driver sees it.
    """

    worker: str = ""
    deaths: tuple[tuple[int, ...], ...] = ()
    tokens: tuple[int, ...] = ()
    file: Path | None = None
    parts: Parts | None = None

    def hold(self, rows: Sequence[int]) -> None:
        """Write down the rows that are worked on from now on."""
        if self.file is not None:
            in_hand = {"rows": list(rows), "tokens": tokens_per_batch()}
            write_json(self.file, {"worker": self.worker, **in_hand})
            if self.parts is not None:
                self.parts.write_file(self.file.name)

    def end(self) -> None:
        """Nothing is in hand any more."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)
            if self.parts is not None:
                self.parts.remove_file(self.file.name)

    @property
    def deadly(self) -> frozenset[int]:
        """Rows with which a process died when it had no other in hand."""
        return frozenset(rows[0] for rows in self.deaths if len(rows) == 1)

    @property
    def suspects(self) -> frozenset[int]:
        """Rows that the last process that died had in hand, if it was warned by a death before."""
        return frozenset(self.deaths[-1]) if len(self.deaths) > 1 else frozenset()


NO_ATTEMPT = Attempt()
"""Of a process of which nobody would know that it died."""


def attempt_at(shard: Path, worker: str, parts: Parts | None = None) -> Attempt:
    """The next try at the shard that is to come to this place. It has nothing in hand yet."""
    file = _beside(shard, DEATHS)
    if parts is not None:
        parts.bring_file(file.name)
    deaths = _read(file, [])
    rows = tuple(tuple(death["rows"]) for death in deaths)
    tokens = tuple(death["tokens"] for death in deaths)
    return Attempt(worker, rows, tokens, _beside(shard, IN_HAND), parts)


def lay_death(shards: Path, worker: str | None, parts: Parts | None = None) -> None:
    """Note, beside the shard that a dead process had in hand, with which rows it died.

    Where nobody knows which process it was, as when a machine had no memory left, all shards in
    hand are begun again with smaller batches, and no row is suspected.
    """
    if parts is not None:
        for name in parts.file_names():
            if name.endswith((IN_HAND, DEATHS)):
                parts.bring_file(name)
    for file in shards.glob(f"*.{IN_HAND}"):
        in_hand = read_json(file)
        if worker in (None, in_hand["worker"]):
            deaths = file.with_name(file.name.replace(IN_HAND, DEATHS))
            death = {"rows": in_hand["rows"] if worker else [], "tokens": in_hand["tokens"]}
            write_json(deaths, [*_read(deaths, []), death])
            file.unlink(missing_ok=True)
            if parts is not None:
                parts.write_file(deaths.name)
                parts.remove_file(file.name)


def _beside(shard: Path, name: str) -> Path:
    return shard.with_name(f"{shard.name}.{name}")


def _read(file: Path, otherwise: Any) -> Any:  # noqa: ANN401 (what was written)
    return read_json(file) if file.exists() else otherwise
