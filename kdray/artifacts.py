"""Artifacts: folders that are whole or do not exist, found again by a fingerprint.

The fingerprint covers the stage's own slice of the recipe, the fingerprints of what it reads and a
version that is raised by hand when the stage's code changes its result. Where and how wide a stage
runs is no part of it.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import kdray
from kdray.errors import ArtifactDamaged, InputError, redact
from kdray.storage.remote import remote_storage
from kdray.storage.whole import whole

RECORD = "record.json"
_OF_A_RECORD = {"fingerprint", "counts", "files", "created"}
_ABSENT = object()


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
        """What the fingerprint stands for, within its stage."""
        return {"version": self.version, "recipe": self.recipe, "inputs": self.inputs}


@dataclass(frozen=True, slots=True)
class Brought:
    """A folder that a user brought. It is read where it is, by its absolute path."""

    path: Path
    fingerprint: str  # stands for its content


Source = Key | Brought
"""What a step reads: an artifact of the store, or what a user brought."""

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
    """

    root: Path
    remote: str | None = field(default=None, repr=False)  # may hold credentials

    @classmethod
    def open(cls, location: str | Path) -> Self:
        """The store of a folder, of a `file://` URI, or of one with another storage's scheme.

        Raises:
            InputError: no storage has the scheme, it cannot be used, or the local folder cannot
                be written.
        """
        uri = str(location)
        scheme, colon, path = uri.partition("://")
        if not colon or scheme == "file":
            folder = Path(unquote(path) if colon else location)
            return cls(_writable(folder, named_by="execution.storage"))
        remote_storage(uri)
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = caches / "kdray" / re.sub(r"[^\w.-]+", "-", redact(uri))
        return cls(_writable(cache, named_by="XDG_CACHE_HOME"), uri)

    def path(self, key: Key) -> Path:
        """Where the content of an artifact is on this machine, or will be."""
        return self.root / key.place

    def folder(self, *names: str) -> Path:
        """A local folder for what the program keeps besides artifacts. It may not be there yet."""
        return self.root.joinpath(*names)

    def work_path(self, key: Key) -> Path:
        """Where an unfinished stage keeps what a restarted run continues from."""
        return self.root / "work" / key.place

    def find(self, key: Key) -> Artifact | None:
        """The published artifact, or None. Its record is read, and no content.

        Raises:
            ArtifactDamaged: the record names another content, or a file of a folder store is
                missing or has another size.
        """
        content = self._content_of_record(key)
        if content is None:
            return None
        record = self._checked(key, content, self.path(key) if self.remote is None else None)
        return Artifact(key=key, path=self.path(key), counts=record["counts"])

    def fetch(self, source: Source) -> Path:
        """The local folder with the content of an artifact, or of what was brought.

        An artifact of a remote storage is copied to this machine when it is first asked for.

        Raises:
            ArtifactDamaged: it is not there, or not what its record says.
        """
        if isinstance(source, Brought):
            return source.path
        path = self.path(source)
        if (path / RECORD).exists():
            return path
        if self.remote is None or self.find(source) is None:
            raise ArtifactDamaged(f"{self._where(source)}: is gone; run the same command again")
        with whole(path, record=RECORD) as folder:
            remote_storage(self.remote).get(source.place, folder)
            self._checked(source, (folder / RECORD).read_bytes(), folder)
        return path

    def publish(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """Build an artifact aside and publish it. `build` fills a folder and returns counts."""
        with whole(self.path(key), record=RECORD) as folder:
            counts = dict(build(folder))
            write_json(folder / RECORD, _record(key, folder, counts))
            if self.remote is not None:
                remote_storage(self.remote).put(folder, key.place)
        artifact = self.find(key)  # this one, or that of another process that was as fast
        assert artifact is not None, "it was published"
        shutil.rmtree(self.work_path(key), ignore_errors=True)
        return artifact

    def cached(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The published artifact; built now if there is none."""
        return self.find(key) or self.publish(key, build)

    def explain_miss(self, key: Key) -> list[str]:
        """What differs from the newest artifact of the same stage: why there is no hit."""
        records = [record for content in self._records(key.stage) if (record := _parsed(content))]
        if not records or key.fingerprint in {record["fingerprint"] for record in records}:
            return []
        return differences(max(records, key=itemgetter("created")), _identity(key))

    def _content_of_record(self, key: Key) -> bytes | None:
        if self.remote is not None:
            return remote_storage(self.remote).record(key.place)
        try:
            return (self.path(key) / RECORD).read_bytes()
        except FileNotFoundError:
            return None

    def _records(self, stage: str) -> Iterable[bytes]:
        if self.remote is not None:
            return remote_storage(self.remote).records(stage)
        return (path.read_bytes() for path in (self.root / stage).glob(f"[!.]*/{RECORD}"))

    def _checked(self, key: Key, content: bytes, folder: Path | None) -> dict[str, Any]:
        """The record that a file holds, if it is the key's and the files of a folder agree."""
        record = _parsed(content)
        if record is None:
            raise self._damaged(key, f"/{RECORD}: not a record")
        if changed := differences(record, _identity(key)):
            fields = "; ".join(changed)
            raise self._damaged(key, f": its record disagrees with its fingerprint in {fields}")
        for name, expected in record["files"].items() if folder is not None else ():
            file = folder / name
            size = file.stat().st_size if file.is_file() else None
            if size != expected["bytes"]:
                now = "is missing" if size is None else f"has {size} bytes"
                raise self._damaged(key, f"/{name}: {now}, its record says {expected['bytes']}")
        return record

    def _where(self, key: Key) -> str:
        return f"{self.remote or self.root}/{key.place}"

    def _damaged(self, key: Key, how: str) -> ArtifactDamaged:
        where = self._where(key)
        copy = "" if self.remote is None else f" and its copy {self.path(key)}"
        return ArtifactDamaged(f"{where}{how}; remove the folder {where}{copy} and run again")


def canonical_json(value: object) -> str:
    """One text for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_json(path: Path, value: object) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one."""
    with whole(path) as aside, aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")


def sha256_file(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted fields of `new` whose values are others in `old`, as `field: old -> new`."""
    found: list[str] = []
    for name in sorted({*old, *new} if prefix else new):
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        place = f"{prefix}{name}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{place}.")
        elif _shown(before) != _shown(after):  # 1, 1.0 and true are equal in Python, not as JSON
            found.append(f"{place}: {_shown(before)} -> {_shown(after)}")
    return found


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else canonical_json(value)


def _identity(key: Key) -> dict[str, Any]:
    return dict(json.loads(canonical_json(key.content())))


def _record(key: Key, folder: Path, counts: Mapping[str, Any]) -> dict[str, Any]:
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    return {
        "stage": key.stage,
        "fingerprint": key.fingerprint,
        **_identity(key),
        "counts": counts,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
            for name in files
        },
        "kdray": kdray.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parsed(content: bytes) -> dict[str, Any] | None:
    """A record, or None if it is not one."""
    try:
        record = json.loads(content)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.keys() >= _OF_A_RECORD else None


def _writable(root: Path, *, named_by: str) -> Path:
    """Create a folder and prove that it can be written. -> its absolute path."""
    probe = root / f".probe-{uuid.uuid4().hex}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        return root.resolve()
    except (OSError, ValueError) as error:  # of the latter kind: NUL, or half a character
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{named_by} {root}: cannot be written ({reason}); name a folder that you may write"
        ) from None
