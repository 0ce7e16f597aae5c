"""The record of an artifact: what it is, what is in it, and checksums of all that.

Also how plain values are written, read and compared.
"""

import errno
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kdray
from kdray.errors import ArtifactDamaged
from kdray.storage.content import RECORD as RECORD
from kdray.storage.content import checksums, outside
from kdray.storage.whole import whole

_FORM = {
    "stage": str,
    "fingerprint": str,
    "version": object,
    "recipe": dict,
    "inputs": dict,
    "counts": dict,
    "files": dict,
    "created": str,
    "sha256": str,
}
"""What a record holds, and of which type."""


def canonical_json(value: object) -> str:
    """One text for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_json(path: Path, value: object) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one."""
    with whole(path) as aside, aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 (whatever was written)
    """Read what `write_json` wrote.

    Raises:
        ArtifactDamaged: it is missing, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactDamaged(
            f"{path}: cannot be read ({error}); remove {path.parent} and run again"
        ) from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted fields of `new` whose values are others in `old`, as `field: old -> new`."""
    changes: list[str] = []
    for name in sorted({*old, *new} if prefix else new):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += differences(before, after, f"{prefix}{name}.")
            continue
        # As JSON, since 1, 1.0 and true are equal in Python.
        was, now = (canonical_json(of[name]) if name in of else "absent" for of in (old, new))
        if was != now:
            changes.append(f"{prefix}{name}: {was} -> {now}")
    return changes


def plain(value: object) -> Any:  # noqa: ANN401 (whatever it is)
    """A value as it is after it was written and read."""
    return json.loads(canonical_json(value))


def new_record(
    stage: str, fingerprint: str, identity: Mapping[str, Any], folder: Path, counts: object
) -> dict[str, Any]:
    """The record of what a folder holds."""
    record = {
        "stage": stage,
        "fingerprint": fingerprint,
        **identity,
        "counts": counts,
        "files": checksums(folder),
        "kdray": kdray.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    record = plain(record)
    return {**record, "sha256": _checksum(record)}


def _checksum(record: Mapping[str, Any]) -> str:
    """Of all that a record says, but for its checksum."""
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def record_in(folder: Path) -> bytes | None:
    """The record in a folder; None if there is no folder, or nothing in it.

    Raises:
        ArtifactDamaged: there are other files without it.
    """
    try:
        return (folder / RECORD).read_bytes()
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise damaged(folder, f"/{RECORD}: is missing") from None
        if folder.is_symlink():
            raise damaged(folder, ": is a link that leads nowhere") from None
        return None
    except IsADirectoryError:
        raise damaged(folder, f"/{RECORD}: is a folder") from None
    except NotADirectoryError:
        raise damaged(folder, ": is a file, or stands below one") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise damaged(folder, ": is a link that leads to itself") from None


def parsed(content: bytes) -> dict[str, Any] | None:
    """A record, or None if it is not one: what it holds is then of the types that are used."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _FORM.keys():
        return None
    if not all(isinstance(record[name], kind) for name, kind in _FORM.items()):
        return None
    files = record["files"].values()
    return (
        record
        if all(isinstance(each, dict) and {"bytes", "sha256"} <= each.keys() for each in files)
        else None
    )


def unchanged(record: Mapping[str, Any]) -> bool:
    """Whether a record is as it was written."""
    return bool(record["sha256"] == _checksum(record))


def wrong_record(content: bytes, identity: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """What is wrong with the record of what should have an identity, and the record."""
    record = parsed(content)
    if record is None:
        return f"/{RECORD}: not a record", {}
    if (name := outside(record["files"])) is not None:
        return not_within(name), record
    if changed := differences(record, identity):
        return f": its record disagrees with its fingerprint in {'; '.join(changed)}", record
    if not unchanged(record):
        return f"/{RECORD}: was changed after it was written", record
    return None, record


def not_within(name: str) -> str:
    """What is wrong with the record of a folder that names a file outside of it."""
    return f"/{RECORD}: names {name!r}, which is no path within its folder"


def damaged(where: Path | str, how: str, *, copy: str = "") -> ArtifactDamaged:
    """The error that names what is wrong at a place, and what has to be removed."""
    return ArtifactDamaged(f"{where}{how}; remove the folder {where}{copy} and run again")
