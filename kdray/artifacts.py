"""Artifacts: folders that are whole or do not exist, found by the fingerprint of their key."""

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from kdray.errors import ArtifactDamaged, redact
from kdray.keys import Brought as Brought
from kdray.keys import Fetch as Fetch
from kdray.keys import Key as Key
from kdray.keys import Source as Source
from kdray.keys import keys_among as keys_among
from kdray.storage.content import foreign, remember, wrong_content, wrong_size
from kdray.storage.content import sha256_file as sha256_file
from kdray.storage.disk import disk_errors
from kdray.storage.folders import get_folder, put_folder, remove_below
from kdray.storage.held import Claims, ClaimTwice, Held, wait_for
from kdray.storage.lease import Claim, clear, hold, is_held
from kdray.storage.location import located
from kdray.storage.mirror import Mirror
from kdray.storage.parts import Parts
from kdray.storage.record import RECORD as RECORD
from kdray.storage.record import canonical_json as canonical_json
from kdray.storage.record import damaged, new_record, parsed, record_in, unchanged, wrong_record
from kdray.storage.record import differences as differences
from kdray.storage.record import read_json as read_json
from kdray.storage.record import write_json as write_json
from kdray.storage.remote import RemoteStorage, remote_storage
from kdray.storage.remote_lease import RemoteClaim, cache_id, sweep_alive
from kdray.storage.whole import leftovers, whole

LEASES, VERIFIED, WORK = "leases", "verified", "work"
_HALF_MADE = re.compile(r"\.([0-9a-f]{16})-[0-9a-f]{8}")
_found: dict[tuple[str, str], bytes] = {}
"""Records that this process has seen in storages of objects, where nothing is ever changed."""
_OF_A_PLACE = rf"[^/]+/[0-9a-f]{{16}}/{RECORD}"


class _AnotherStays(Exception):
    """Another process has published the same artifact meanwhile."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is published under a key, by its record."""

    key: Key
    path: Path  # where its content is once it was fetched; in a folder store it always is
    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, by its place, and the places of what was fetched."""

    found: dict[str, Artifact] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Store:
    """All artifacts, each at `<stage>/<fingerprint>`. It can be pickled.

    `root` is a local folder. Without a `remote`, all nodes of the cluster see it, and everything is
    in it: artifacts, unfinished work, and what the program keeps besides. With one, the URI of a
    storage of objects, artifacts are there, and what others need to go on with unfinished work;
    each node has a `root` of its own, which holds what was fetched or made there.
    With `only_looks`, nothing is written in a store.
    `seen` is kept by a store whose artifacts are looked for once.
    """

    root: Path
    remote: str | None = field(default=None, repr=False)  # may hold credentials
    only_looks: bool = False
    seen: Seen | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(
        cls, location: str | Path, *, cache: str | None = None, only_looks: bool = False
    ) -> Self:
        """The store of a folder, of a `file://` URI, or of one with another storage's scheme.

        `cache` is the folder for what a node reads from such a storage; without it, it is
        `$XDG_CACHE_HOME/kdray`, or `~/.cache/kdray`.

        Raises:
            InputError: the location is a mistyped URI, no storage has its scheme, the storage
                cannot be used, or the local folder cannot be written, unless the caller only looks.
        """
        root, remote = located(location, cache=cache, only_looks=only_looks)
        _found.clear()
        return cls(root, remote, only_looks)

    def at_rest(self) -> Self:
        """The same store for somebody who knows that its artifacts stay as they are meanwhile."""
        return replace(self, seen=Seen())

    def path(self, key: Key) -> Path:
        """Where the content of an artifact is on this machine, or will be."""
        return self.root / key.place

    @property
    def location(self) -> str:
        """What a user calls it."""
        return redact(self.remote) if self.remote else str(self.root)

    def work_path(self, key: Key) -> Path:
        """Where an unfinished stage keeps what a restarted run continues from."""
        return self.root / WORK / key.place

    def mirror(self, key: Key) -> Mirror | None:
        """What keeps the work folder for other machines; None where they see the folder itself."""
        if self.remote is None:
            return None
        return Mirror(self.remote, f"{WORK}/{key.place}/kept", self.work_path(key))

    def parts(self, key: Key, folder: Path) -> Parts | None:
        """What keeps finished parts in a folder for other machines; None as above."""
        return (
            None if self.remote is None else Parts(self.remote, f"{WORK}/{key.place}/parts", folder)
        )

    def show(self, folder: Path) -> None:
        """Copy what a person reads, from a folder of `root`, to where all machines see it."""
        if self.remote is not None:
            place = folder.relative_to(self.root).as_posix()
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            names = {f"{place}/{path.relative_to(folder).as_posix()}": path for path in files}
            for name, path in names.items():
                self._storage.upload(path, name)
            self._storage.remove(set(self._storage.names(place)) - names.keys())

    def find(self, key: Key) -> Artifact | None:
        """The published artifact, or None.

        The content of a folder store is verified when it is first found, unless the caller only
        looks. What was verified is remembered, so later its files are not read again.

        Raises:
            ArtifactDamaged: the record is missing or names another content, or a file of a folder
                store is missing, or is not what was written.
        """
        if self.seen is not None and key.place in self.seen.found:
            return self.seen.found[key.place]
        folder = self.path(key) if self.remote is None else None
        content = record_in(folder) if folder is not None else self._remote_record(key)
        if content is None:
            return None
        record = self._checked(key, content, folder, reads=not self.only_looks)
        if self.remote is not None:
            _found[self.remote, key.place] = content
        artifact = Artifact(key=key, path=self.path(key), counts=record["counts"])
        if self.seen is not None:
            self.seen.found[key.place] = artifact
        return artifact

    def fetch(self, source: Source) -> Path:
        """The local folder with the verified content of an artifact, or of what was brought.

        An artifact of a remote storage is copied to this machine when it is first asked for.

        Raises:
            ArtifactDamaged: it is not there, or not what its record says.
            DataError: what was brought was changed since its content was hashed.
        """
        if isinstance(source, Brought):
            source.files.prove()
            return source.path
        path = self.path(source)
        if self.seen is not None and source.place in self.seen.fetched:
            return path
        if self.remote is not None and record_in(path) is None and self.find(source) is not None:
            self._copy(source)
        if (content := record_in(path)) is None:
            raise ArtifactDamaged(f"{self._where(source)}: is gone; run the same command again")
        self._checked(source, content, path)
        if self.seen is not None:
            self.seen.fetched.add(source.place)
        return path

    def verify(self, key: Key) -> None:
        """Read all of an artifact, if it is there, wherever it is.

        Raises:
            ArtifactDamaged: a file of it is not what was written.
        """
        path = self.path(key)
        if (content := record_in(path)) is not None:
            self._checked(key, content, path, again=True)
        if self.remote is None:
            return
        _found.pop((self.remote, key.place), None)
        if (content := self._remote_record(key)) is not None:
            with tempfile.TemporaryDirectory() as folder:
                self._get(key, content, Path(folder), again=True)

    def claim(self, key: Key, holder: str = "command") -> Claims[Held]:
        """What a `command` has to take before it lets an artifact be made, or its `maker`.

        In a storage of objects, first from those on this machine, then from all machines.
        """
        here = Claim(self._lease(key, holder))
        if self.remote is None:
            return here
        name, cache = self._lease(key, holder).name, cache_id(self.root)
        return ClaimTwice(here, RemoteClaim(self._storage, name, cache=cache))

    def alone(self, key: Key, *, seconds: float = math.inf) -> Held:
        """Wait to be the process that makes an artifact; remove what a killed one left half made.

        Raises:
            InputError: another process has made it for so many seconds.
        """
        lease = wait_for(self.claim(key, "maker"), seconds=seconds)
        for left in leftovers(self.path(key)):
            shutil.rmtree(left, ignore_errors=True)
        return lease

    def sweep(self) -> None:
        """Remove folders that killed processes left half made, and the leases of dead owners."""
        for folder in self.root.glob("*/.*"):
            name = _HALF_MADE.fullmatch(folder.name)
            lease = self.root / LEASES / f"{folder.parent.name}-{name[1]}" if name else None
            if lease and not any(map(is_held, (_of(lease, "maker"), _of(lease, "fetch")))):
                shutil.rmtree(folder, ignore_errors=True)
        for path in (self.root / LEASES).glob("*"):
            clear(path)
        if self.remote is not None:
            sweep_alive(self._storage)

    def publish(
        self, key: Key, build: Callable[[Path], Mapping[str, Any]], lease: Held | None = None
    ) -> Artifact:
        """Build an artifact aside and publish it. `build` fills a folder and returns counts.

        One process does this at a time, by the lease that `alone` gave it; others wait here, and
        get what the first one made.

        Raises:
            ArtifactDamaged: something that is no artifact is in its place.
            LeaseLost: another process took over meanwhile.
            StageFailed: the disk is full, or cannot be written.
        """
        path = self.path(key)
        with (
            disk_errors(path),
            self.alone(key) if lease is None else nullcontext(lease) as held,
        ):
            if (artifact := self.find(key)) is not None:
                return artifact
            try:
                with (
                    suppress(_AnotherStays),
                    whole(path, record=RECORD, may_move=held.check) as folder,
                ):
                    counts = dict(build(folder))
                    record = new_record(key.stage, key.fingerprint, key.content(), folder, counts)
                    write_json(folder / RECORD, record)
                    if self.remote is not None:
                        held.check()
                        content, files = (folder / RECORD).read_bytes(), record["files"]
                        if not put_folder(self._storage, folder, key.place, files, content):
                            raise _AnotherStays
            except OSError:
                held.check()  # a new owner removes what the one before it had half made
                raise
            self._forget_work(key)  # may hold names of its files
            if path.exists():
                remember(path, record["files"], memory=self._memory(key))
            artifact = self.find(key)
            assert artifact is not None, "it was published"
            return artifact

    def cached(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The published artifact; built now if there is none."""
        return self.find(key) or self.publish(key, build)

    def contents(self, stage: str) -> list[dict[str, Any]]:
        """What the artifacts of a stage are (`Key.content`), the newest first."""
        records = sorted(self.records(stage), key=itemgetter("created"), reverse=True)
        names = ("version", "recipe", "inputs")
        return [{name: record[name] for name in names} for record in records]

    def named(self, fingerprint: str, stages: Iterable[str]) -> Key | None:
        """What an artifact of one of some stages is, by its fingerprint; None if there is none.

        Raises:
            ArtifactDamaged: the record in its place is that of another one.
        """
        for stage in stages:
            place = f"{stage}/{fingerprint}"
            content = (
                record_in(self.root / place)
                if self.remote is None
                else self._storage.read(f"{place}/{RECORD}")
            )
            if content is not None and (record := parsed(content)) is not None:
                key = Key(record["stage"], record["version"], record["recipe"], record["inputs"])
                if key.place != place:
                    where = f"{self.location}/{place}"
                    raise damaged(where, f"/{RECORD}: is that of {key.place}")
                return key
        return None

    def explain_miss(
        self, key: Key, records: Sequence[Mapping[str, Any]] | None = None
    ) -> list[str]:
        """What differs from the newest artifact of the same stage: why there is no hit.

        `records` are those of the stage, if the caller has read them.
        """
        records = self.records(key.stage) if records is None else records
        if not records or any(record["fingerprint"] == key.fingerprint for record in records):
            return []
        return differences(max(records, key=itemgetter("created")), key.content())

    def records(self, stage: str) -> list[dict[str, Any]]:
        """The records of all artifacts of a stage; what is none, or was changed, is left out."""
        contents: Iterable[bytes | None]
        if self.remote is None:
            files = (self.root / stage).glob(f"[!.]*/{RECORD}")
            contents = (path.read_bytes() for path in files if path.is_file())
        else:
            names = [name for name in self._storage.names(stage) if re.fullmatch(_OF_A_PLACE, name)]
            contents = map(self._storage.read, names)
        records = (parsed(content) for content in contents if content)
        return [record for record in records if record is not None and unchanged(record)]

    @property
    def _storage(self) -> RemoteStorage:
        assert self.remote is not None, "the caller has looked"
        return remote_storage(self.remote)

    def _remote_record(self, key: Key) -> bytes | None:
        """What was seen once is there: nothing in a storage of objects is ever changed."""
        seen = _found.get((self.remote or "", key.place))
        return seen or self._storage.read(f"{key.place}/{RECORD}")

    def _copy(self, key: Key) -> None:
        """Copy an artifact from the storage, unless another process of this machine does it."""
        path, content = self.path(key), self._remote_record(key)
        if content is None:
            return
        with disk_errors(path), hold(self._lease(key, "fetch")):
            if record_in(path) is None:
                if not is_held(self._lease(key, "maker")):  # nobody else has something half made
                    for left in leftovers(path):
                        shutil.rmtree(left, ignore_errors=True)
                with whole(path, record=RECORD) as folder:
                    self._get(key, content, folder)

    def _get(self, key: Key, content: bytes, folder: Path, *, again: bool = False) -> None:
        """Fill an empty folder with an artifact of the storage, and verify it."""
        files = self._checked(key, content, None)["files"]
        get_folder(self._storage, key.place, folder, files)
        (folder / RECORD).write_bytes(content)
        self._checked(key, content, folder, again=again)

    def _forget_work(self, key: Key) -> None:
        shutil.rmtree(self.work_path(key), ignore_errors=True)
        if self.remote is not None:
            remove_below(self._storage, f"{WORK}/{key.place}")

    def _checked(
        self,
        key: Key,
        content: bytes,
        folder: Path | None,
        *,
        reads: bool = True,
        again: bool = False,
    ) -> dict[str, Any]:
        """The record that a file holds, if it is the key's and the files of a folder agree.

        `reads`: the content of files that were not verified before; `again`: of all.
        """
        wrong, record = wrong_record(content, key.content())
        is_local = folder == self.path(key)
        if wrong is None and folder is not None:
            memory = self._memory(key) if is_local and not self.only_looks else None
            wrong = wrong_size(folder, record["files"]) or foreign(folder, record["files"])
            if wrong is None and reads:
                wrong = wrong_content(folder, record["files"], memory=memory, again=again)
        if wrong is None:
            return record
        copy = "" if is_local else f" and its copy {self.path(key)}"
        raise damaged(self.path(key) if is_local else self._where(key), wrong, copy=copy)

    def _where(self, key: Key) -> str:
        return f"{self.location}/{key.place}"

    def _lease(self, key: Key, holder: str) -> Path:
        """Of a `command` that has an artifact made, of its `maker`, or of one that fetches it."""
        return _of(self.root / LEASES / f"{key.stage}-{key.fingerprint}", holder)

    def _memory(self, key: Key) -> Path:
        return self.root / VERIFIED / f"{key.stage}-{key.fingerprint}.json"


def _of(lease: Path, holder: str) -> Path:
    return lease.with_name(f"{lease.name}.{holder}")


def prove(folder: Path) -> None:
    """Read all files of a published folder, wherever it is; one without a record proves nothing.

    Raises:
        ArtifactDamaged: they are not what its record says.
    """
    try:
        content = (folder / RECORD).read_bytes()
    except FileNotFoundError:
        return
    wrong, record = wrong_record(content, {})
    wrong = wrong or wrong_size(folder, record["files"])
    wrong = wrong or wrong_content(folder, record["files"], memory=None, again=False)
    if wrong is not None:
        raise ArtifactDamaged(f"{folder}{wrong}; copy the folder again as it was")
