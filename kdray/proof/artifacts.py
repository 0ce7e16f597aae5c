"""Where artifacts that are to be proved stand: in a folder, or in a storage of objects."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kdray.artifacts import RECORD, Store
from kdray.errors import InputError
from kdray.storage.content import outside
from kdray.storage.disk import prove_writable
from kdray.storage.folders import get_folder
from kdray.storage.record import parsed
from kdray.storage.remote import remote_storage

COMPARED = ("corpus", "noise", "encoded", "hypotheses", "tokenizer")
"""What an artifact was made of, by the names in its record, that its rows are compared with."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact as it is found: its place in a storage, its folder, and what its record holds."""

    place: str  # stage/fingerprint
    folder: Path
    content: bytes | None

    @property
    def record(self) -> dict[str, Any] | None:
        """None if there is none, or if it is not one."""
        record = None if self.content is None else parsed(self.content)
        return record if record is not None and outside(record["files"]) is None else None


class Artifacts(Protocol):
    """The artifacts of a storage. `only`: places of those that are to be proved; None: all."""

    only: tuple[str, ...] | None

    def places(self) -> list[str]:
        """Of all that are there."""

    def get(self, place: str) -> Stored:
        """One of them, here."""

    def each(self) -> Iterator[Stored]:
        """Those that are to be proved, one after another; `get` serves meanwhile."""


@dataclass(slots=True)
class InFolder:
    """In a folder."""

    root: Path
    only: tuple[str, ...] | None = None

    def places(self) -> list[str]:
        """See `Artifacts`. What has its name and no record is one that is damaged."""
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self.root.glob("*/[0-9a-f]*")
            if _is_of_artifact(["", path.name, ""]) and not _is_empty(path)
        )

    def get(self, place: str) -> Stored:
        """See `Artifacts`."""
        folder = self.root / place
        record = folder / RECORD
        return Stored(place, folder, record.read_bytes() if record.is_file() else None)

    def each(self) -> Iterator[Stored]:
        """See `Artifacts`."""
        yield from map(self.get, self.places() if self.only is None else self.only)


@dataclass(slots=True)
class InObjects:
    """In a storage of objects; each is copied into a folder when it is asked for.

    A copy is removed once nothing that follows is compared with it.
    """

    uri: str
    copies: Path
    only: tuple[str, ...] | None = None
    held: dict[str, Stored] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    records: dict[str, bytes | None] = field(default_factory=dict)  # by place, as they were read

    def places(self) -> list[str]:
        """See `Artifacts`. The storage is listed once."""
        if not self.listed:
            names = (name.split("/") for name in remote_storage(self.uri).names(""))
            places = {"/".join(parts[:2]) for parts in names if _is_of_artifact(parts)}
            self.listed = sorted(place for place in places if outside([place]) is None)
        return self.listed

    def get(self, place: str) -> Stored:
        """See `Artifacts`."""
        if place not in self.held:
            storage, folder = remote_storage(self.uri), self.copies / place
            stored = Stored(place, folder, self._record(place))
            folder.mkdir(parents=True)
            if stored.record is not None and stored.content is not None:
                get_folder(storage, place, folder, stored.record["files"])
                (folder / RECORD).write_bytes(stored.content)
            self.held[place] = stored
        return self.held[place]

    def each(self) -> Iterator[Stored]:
        """See `Artifacts`."""
        places = self.places() if self.only is None else self.only
        by_fingerprint = {place.rpartition("/")[2]: place for place in self.places()}
        last_use = dict[str, int]()
        for at, place in enumerate(places):
            last_use |= dict.fromkeys(self._compared_with(place, by_fingerprint), at)
        for at, place in enumerate(places):
            yield self.get(place)
            for copied in [each for each in self.held if last_use.get(each, at) <= at]:
                shutil.rmtree(self.held.pop(copied).folder)

    def _compared_with(self, place: str, by_fingerprint: Mapping[str, str]) -> set[str]:
        """The places of an artifact and of all that it is compared with, in however many steps."""
        found, ahead = set[str](), [place]
        while ahead:
            found.add(here := ahead.pop())
            record = Stored(here, self.copies, self._record(here)).record or {"inputs": {}}
            of = (by_fingerprint.get(record["inputs"].get(name)) for name in COMPARED)
            ahead += [each for each in of if each is not None and each not in found]
        return found

    def _record(self, place: str) -> bytes | None:
        if place not in self.records:
            self.records[place] = remote_storage(self.uri).read(f"{place}/{RECORD}")
        return self.records[place]


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_of_artifact(parts: list[str]) -> bool:
    return len(parts) > 2 and len(parts[1]) == 16 and set(parts[1]) <= set("0123456789abcdef")


@contextmanager
def artifacts_of(store: Store) -> Iterator[Artifacts]:
    """The artifacts of a store. Those of a storage of objects are copied below its local folder.

    Raises:
        InputError: that folder cannot be written.
    """
    if store.remote is None:
        yield InFolder(store.root)
        return
    root = prove_writable(store.root, named_by="execution.cache")
    copies = Path(tempfile.mkdtemp(prefix=".verify-", dir=root))
    try:
        yield InObjects(store.remote, copies)
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def artifacts_at(path: Path) -> Artifacts:
    """Those of a path: one artifact's folder, which may have others beside it, or a storage.

    Raises:
        InputError: there is none.
    """
    path = path.resolve()
    if (path / RECORD).exists() or (len(path.name) == 16 and _is_of_artifact(["", path.name, ""])):
        return InFolder(path.parent.parent, (f"{path.parent.name}/{path.name}",))
    found = InFolder(path)
    if not path.is_dir() or not found.places():
        raise InputError(
            f"{path}: no artifact is there; name the folder of one, STAGE/FINGERPRINT of a "
            "storage, the storage itself, or the configuration of an experiment"
        )
    return found
