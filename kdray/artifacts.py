"""Artifacts: folders that are whole or do not exist, found again by a fingerprint.

An artifact is built in a folder beside its place, its record is written last, and a rename
publishes it. The fingerprint covers the stage's own slice of the recipe, the fingerprints of what
it reads and a version that is raised by hand when the stage's code changes its result.
Where and how wide a stage runs is no part of it.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import kdray
from kdray.errors import ArtifactDamaged, InputError

logger = logging.getLogger(__name__)

RECORD = "record.json"
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
        content = {
            "stage": self.stage,
            "version": self.version,
            "recipe": self.recipe,
            "inputs": self.inputs,
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


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
    """A published folder and what its record says."""

    key: Key
    path: Path
    counts: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint."""
        return self.key.fingerprint


@dataclass(frozen=True, slots=True)
class Store:
    """The folder that holds all artifacts: `root/<stage>/<fingerprint>`."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Self:
        """Create the folder and prove that it can be written.

        Raises:
            InputError: it cannot be.
        """
        probe = root / f".probe-{uuid.uuid4().hex}"
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"execution.storage {root}: cannot be written ({error.strerror}); "
                "name a folder that you may write"
            ) from None
        return cls(root.resolve())

    def path(self, key: Key) -> Path:
        """Where the artifact is, or will be."""
        return self.root / key.stage / key.fingerprint

    def fetch(self, source: Source) -> Path:
        """A local folder with the content of an artifact, or of what was brought."""
        return source.path if isinstance(source, Brought) else self.path(source)

    def work_path(self, key: Key) -> Path:
        """Where an unfinished stage keeps what a restarted run continues from."""
        return self.root / "work" / key.stage / key.fingerprint

    def find(self, key: Key) -> Artifact | None:
        """The published artifact, or None.

        Raises:
            ArtifactDamaged: the record names another content, or a file is missing or has another
                size.
        """
        path = self.path(key)
        try:
            record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            record = None
        if not isinstance(record, dict) or not {"counts", "files"} <= record.keys():
            raise ArtifactDamaged(f"{path / RECORD}: not a record; {_repair(path)}")
        _check(path, key, record)
        return Artifact(key=key, path=path, counts=record["counts"])

    def publish(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """Build an artifact aside and publish it. `build` fills a folder and returns counts."""
        path = self.path(key)
        aside = path.with_name(f".{key.fingerprint}-{uuid.uuid4().hex[:8]}")
        aside.mkdir(parents=True)
        try:
            counts = dict(build(aside))
            write_json(aside / RECORD, _record(key, aside, counts))
            _sync_tree(aside)
            try:
                aside.rename(path)
            except OSError:
                other = self.find(key)  # of another process that was as fast
                if other is None:
                    raise
                counts = dict(other.counts)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(self.work_path(key), ignore_errors=True)
        return Artifact(key=key, path=path, counts=counts)

    def cached(self, key: Key, build: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The published artifact; built now if there is none."""
        return self.find(key) or self.publish(key, build)

    def explain_miss(self, key: Key) -> list[str]:
        """What differs from the newest artifact of the same stage: why there is no hit."""
        folders = [path.parent for path in (self.root / key.stage).glob(f"[!.]*/{RECORD}")]
        if not folders or self.path(key) in folders:
            return []
        newest = max(folders, key=lambda folder: (folder / RECORD).stat().st_mtime)
        record = json.loads((newest / RECORD).read_text(encoding="utf-8"))
        return differences(record, _identity(key))


def canonical_json(value: object) -> str:
    """One text for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_json(path: Path, value: object) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one."""
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


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
    content = {"version": key.version, "recipe": key.recipe, "inputs": key.inputs}
    return dict(json.loads(canonical_json(content)))


def _record(key: Key, folder: Path, counts: Mapping[str, Any]) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "stage": key.stage,
        "fingerprint": key.fingerprint,
        **_identity(key),
        "counts": counts,
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
            for path in files
        },
        "kdray": kdray.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _check(path: Path, key: Key, record: Mapping[str, Any]) -> None:
    changed = differences(record, _identity(key))
    if changed:
        raise ArtifactDamaged(
            f"{path}: its record disagrees with its fingerprint in {'; '.join(changed)}; "
            f"{_repair(path)}"
        )
    for name, expected in record["files"].items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != expected["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise ArtifactDamaged(
                f"{file}: {found}, its record says {expected['bytes']}; {_repair(path)}"
            )


def _repair(path: Path) -> str:
    return f"remove the folder {path} and run again"


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
