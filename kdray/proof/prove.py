"""The proof of artifacts, one after another: all that is wrong, each damage in one line."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from kdray.proof.artifacts import Artifacts, Stored
from kdray.proof.files import file_damages, record_damages
from kdray.proof.pairs import Pairs


@dataclass(slots=True)
class Proof:
    """What was proved so far. `notes`: what could not be compared with what it was made of."""

    artifacts: int = 0
    damaged: list[str] = field(default_factory=list)  # places
    files: int = 0
    size: int = 0  # bytes
    pairs: int = 0  # rows that name a pair
    notes: list[str] = field(default_factory=list)


def prove(artifacts: Artifacts, proof: Proof) -> Iterator[str]:
    """Read all of them, and count in `proof` what was read. Yields each damage, with its place.

    What one of them was made of is proved before it, and is not blamed for: an artifact is compared
    only with those that are whole.
    """
    known = dict[str, list[str]]()

    def damages(stored: Stored) -> list[str]:
        if stored.place not in known:
            found = [*record_damages(stored), *file_damages(stored), *pairs.of_rows(stored)]
            known[stored.place] = found
        return known[stored.place]

    pairs = Pairs(artifacts, damages, proof.notes)
    for stored in artifacts.each():
        proof.artifacts += 1
        if (record := stored.record) is not None:
            proof.files += len(record["files"])
            proof.size += sum(int(each["bytes"]) for each in record["files"].values())
        if found := damages(stored):
            proof.damaged.append(stored.place)
        yield from (f"{stored.place}: {damage}" for damage in found)
        proof.pairs = pairs.rows
