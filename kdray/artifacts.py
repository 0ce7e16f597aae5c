"""Artifacts: folders that are whole or do not exist, found again by a fingerprint.

The fingerprint covers the stage's own slice of the recipe, the fingerprints of what it reads and a
version that is raised by hand when the stage's code changes its result. Where and how wide a stage
runs is no part of it.
"""

import hashlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from kdray.errors import ArtifactDamaged, InputError, redact
from kdray.storage.content import remember, wrong_content, wrong_size
from kdray.storage.content import sha256_file as sha256_file
from kdray.storage.disk import disk_errors, prove_writable
from kdray.storage.lease import Claim, Lease, clear, hold, is_held
from kdray.storage.record import RECORD as RECORD
from kdray.storage.record import canonical_json as canonical_json
from kdray.storage.record import damaged, new_record, parsed, plain, record_in, wrong_record
from kdray.storage.record import differences as differences
from kdray.storage.record import read_json as read_json
from kdray.storage.record import write_json as write_json
from kdray.storage.remote import remote_storage
from kdray.storage.whole import leftovers, whole

LEASES, VERIFIED = "leases", "verified"
_HALF_MADE = re.compile(r"\.([0-9a-f]{16})-[0-9a-f]{8}")
_MISTYPED = re.compile(r"file://(?!/)|[a-z][a-z0-9+.-]+:(?!//)")  # a URI that is none


@dataclass(frozen=True, slots=True)
class Key:
    """What an artifact is: its stage and everything that decides its content."""

    stage: str
    version: int
    recipe: Mapping[str, Any]  # the slice of the recipe, as JSON values
    inputs: Mapping[str, str] = field(default_factory=dict)  # name -> fingerprint or checksum

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        content = canonical_json({"stage": self.stage, **self.content()})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where a storage keeps the artifact: `<stage>/<fingerprint>`."""
        return f"{self.stage}/{self.fingerprint}"

    def content(self) -> dict[str, Any]:
        """What the fingerprint stands for, within its stage, as JSON values."""
        content = {"version": self.version, "recipe": self.recipe, "inputs": self.inputs}
        return dict(plain(content))


@dataclass(frozen=True, slots=True)
class Brought:
    """A folder that a user brought. It is read where it is, by its absolute path."""

    path: Path
    fingerprint: str  # stands for its content


Source = Key | Brought
"""What a step reads: an artifact of the store, or what a user brought."""


def keys_among(*sources: Source | None) -> tuple[Key, ...]:
    """The artifacts among sources."""
    return tuple(source for source in sources if isinstance(source, Key))


Fetch = Callable[[Source], Path]
"""Gives the local folder of what is named."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is published under a key, by its record."""

    key: Key
    path: Path  # where its content is once it was fetched; in a folder store it always is
    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Store:
    """All artifacts, each at `<stage>/<fingerprint>`. It can be pickled.

    `root` is a local folder, seen by all nodes of the cluster. Unfinished work is there, and what
    the program keeps besides artifacts. Without a `remote`, the artifacts are there too; with one,
    its URI, they are in that storage, and `root` holds those that were fetched or made here.
    With `only_looks`, nothing is written in a folder store.
    """

    root: Path
    remote: str | None = field(default=None, repr=False)  # may hold credentials
    only_looks: bool = False

    @classmethod
    def open(cls, location: str | Path, *, only_looks: bool = False) -> Self:
        """The store of a folder, of a `file://` URI, or of one with another storage's scheme.

        Raises:
            InputError: the location is a mistyped URI, no storage has its scheme, the storage
                cannot be used, or the local folder cannot be written, unless the caller only looks.
        """
        uri = str(location)
        if _MISTYPED.match(uri):
            shown = re.sub(":.*@", ":***@", uri)
            raise InputError(
                f"execution.storage {shown}: is neither a folder nor a URI; write a URI as "
                "scheme://…, one of a local folder as file:///…, and a folder whose name has a "
                "colon as ./…"
            )
        scheme, colon, path = uri.partition("://")
        remote = uri if colon and scheme != "file" else None
        folder, named_by = Path(unquote(path) if colon else location), "execution.storage"
        if remote is not None:
            remote_storage(uri)
            caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            folder = caches / "kdray" / re.sub(r"[^\w.-]+", "-", redact(uri))
            named_by = "XDG_CACHE_HOME"
        root = _there(folder) if only_looks else prove_writable(folder, named_by=named_by)
        return cls(root, remote, only_looks)

    def path(self, key: Key) -> Path:
        """Where the content of an artifact is on this machine, or will be."""
        return self.root / key.place

    @property
    def location(self) -> str:
        """What a user calls it."""
        return redact(self.remote) if self.remote else str(self.root)

    def work_path(self, key: Key) -> Path:
        """Where an unfinished stage keeps what a restarted run continues from."""
        return self.root / "work" / key.place

    def find(self, key: Key) -> Artifact | None:
        """The published artifact, or None.

        The content of a folder store is verified when it is first found, unless the caller only
        looks. What was verified is remembered, so later its files are not read again.

        Raises:
            ArtifactDamaged: the record is missing or names another content, or a file of a folder
                store is missing, or is not what was written.
        """
        if self.remote is None:
            folder, content = self.path(key), record_in(self.path(key))
        else:
            folder, content = None, remote_storage(self.remote).record(key.place)
        if content is None:
            return None
        record = self._checked(key, content, folder, reads=not self.only_looks)
        return Artifact(key=key, path=self.path(key), counts=record["counts"])

    def fetch(self, source: Source) -> Path:
        """The local folder with the verified content of an artifact, or of what was brought.

        An artifact of a remote storage is copied to this machine when it is first asked for.

        Raises:
            ArtifactDamaged: it is not there, or not what its record says.
        """
        if isinstance(source, Brought):
            return source.path
        path, remote = self.path(source), self.remote
        if remote is not None and record_in(path) is None and self.find(source) is not None:
            self._copy(source, remote)
        if (content := record_in(path)) is None:
            raise ArtifactDamaged(f"{self._where(source)}: is gone; run the same command again")
        self._checked(source, content, path)
        return path

    def verify(self, key: Key) -> None:
        """Read all of an artifact, if it is there, wherever it is.

        Raises:
            ArtifactDamaged: a file of it is not what was written.
        """
        path = self.path(key)
        if (content := record_in(path)) is not None:
            self._checked(key, content, path, again=True)
        if self.remote is not None and (content := remote_storage(self.remote).record(key.place)):
            with tempfile.TemporaryDirectory() as folder:
                remote_storage(self.remote).get(key.place, Path(folder))
                self._checked(key, content, Path(folder), again=True)

    def claim(self, key: Key) -> Claim:
        """What a command has to take before it lets an artifact be made."""
        return Claim(self._lease(key, "command"))

    def alone(self, key: Key, *, seconds: float = math.inf) -> Lease:
        """Wait to be the process that makes an artifact; remove what a killed one left half made.

        Raises:
            InputError: another process has made it for so many seconds.
        """
        lease = hold(self._lease(key, "maker"), seconds=seconds)
        for left in leftovers(self.path(key)):
            shutil.rmtree(left, ignore_errors=True)
        return lease

    def sweep(self) -> None:
        """Remove folders that killed processes left half made, and the leases of dead owners."""
        for folder in self.root.glob("*/.*"):
            name = _HALF_MADE.fullmatch(folder.name)
            lease = f"{folder.parent.name}-{name[1]}.maker" if name else ""
            if name and not is_held(self.root / LEASES / lease):
                shutil.rmtree(folder, ignore_errors=True)
        for path in (self.root / LEASES).glob("*"):
            clear(path)

    def publish(
        self, key: Key, build: Callable[[Path], Mapping[str, Any]], lease: Lease | None = None
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
                with whole(path, record=RECORD, may_move=held.check) as folder:
                    counts = dict(build(folder))
                    record = new_record(key.stage, key.fingerprint, key.content(), folder, counts)
                    write_json(folder / RECORD, record)
                    if self.remote is not None:
                        held.check()
                        remote_storage(self.remote).put(folder, key.place)
            except OSError:
                held.check()  # a new owner removes what the one before it had half made
                raise
            shutil.rmtree(self.work_path(key), ignore_errors=True)  # may hold names of its files
            remember(path, record["files"], memory=self._memory(key))
            artifact = self.find(key)
            assert artifact is not None, "it was published"
            return artifact

    def cached(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The published artifact; built now if there is none."""
        return self.find(key) or self.publish(key, build)

    def contents(self, stage: str) -> list[dict[str, Any]]:
        """What the artifacts of a stage are (`Key.content`), the newest first."""
        records = [record for content in self._records(stage) if (record := parsed(content))]
        records.sort(key=itemgetter("created"), reverse=True)
        names = ("version", "recipe", "inputs")
        return [{name: record[name] for name in names} for record in records]

    def explain_miss(self, key: Key) -> list[str]:
        """What differs from the newest artifact of the same stage: why there is no hit."""
        records = [record for content in self._records(key.stage) if (record := parsed(content))]
        if not records or key.fingerprint in {record["fingerprint"] for record in records}:
            return []
        return differences(max(records, key=itemgetter("created")), key.content())

    def _copy(self, key: Key, remote: str) -> None:
        """Copy an artifact from the remote storage, unless another process does it meanwhile."""
        path = self.path(key)
        with disk_errors(path), self.alone(key):
            if record_in(path) is None:
                with whole(path, record=RECORD) as folder:
                    remote_storage(remote).get(key.place, folder)
                    self._checked(key, (folder / RECORD).read_bytes(), folder)

    def _records(self, stage: str) -> Iterable[bytes]:
        if self.remote is not None:
            return remote_storage(self.remote).records(stage)
        return (path.read_bytes() for path in (self.root / stage).glob(f"[!.]*/{RECORD}"))

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
            wrong = wrong_size(folder, record["files"])
            if wrong is None and reads:
                wrong = wrong_content(folder, record["files"], memory=memory, again=again)
        if wrong is None:
            return record
        copy = "" if is_local else f" and its copy {self.path(key)}"
        raise damaged(self.path(key) if is_local else self._where(key), wrong, copy=copy)

    def _where(self, key: Key) -> str:
        return f"{self.location}/{key.place}"

    def _lease(self, key: Key, holder: str) -> Path:
        """Of a `command` that has an artifact made, or of its `maker`."""
        return self.root / LEASES / f"{key.stage}-{key.fingerprint}.{holder}"

    def _memory(self, key: Key) -> Path:
        return self.root / VERIFIED / f"{key.stage}-{key.fingerprint}.json"


def _there(folder: Path) -> Path:
    """A folder that is only looked at: it may be absent, and it may be nothing else.

    Raises:
        InputError: it is a file, or a link that leads to itself.
    """
    try:
        root = folder.resolve()
        is_other = root.exists() and not root.is_dir()
    except (OSError, RuntimeError) as error:
        raise InputError(f"execution.storage {folder}: {error}; name a folder") from None
    if is_other:
        raise InputError(f"execution.storage {folder}: is a file; name a folder")
    return root
