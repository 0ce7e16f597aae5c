"""Are the record and the files of an artifact what was written? Each that is not is named."""

from collections.abc import Iterator
from pathlib import Path

from kdray.artifacts import RECORD, Key
from kdray.proof.artifacts import Stored
from kdray.storage.content import sha256_file
from kdray.storage.record import wrong_record


def record_damages(stored: Stored) -> Iterator[str]:
    """What is wrong with the record: whether it is one, and of what it stands for."""
    if stored.content is None:
        yield f"{RECORD}: is missing"
        return
    if (record := stored.record) is None:
        yield (wrong_record(stored.content, {})[0] or f"{RECORD}: not a record").lstrip("/: ")
        return
    key = Key(record["stage"], record.get("version", 0), record["recipe"], record["inputs"])
    identity = {name: record.get(name) for name in ("version", "recipe", "inputs")}
    if (wrong := wrong_record(stored.content, identity)[0]) is not None:
        yield wrong.lstrip("/: ")
    if key.place != stored.place or key.fingerprint != record["fingerprint"]:
        yield f"{RECORD}: is of {key.place}, and stands at {stored.place}"


def file_damages(stored: Stored) -> Iterator[str]:
    """What is wrong with each file: one that is lost, changed, or that nobody has written."""
    record = stored.record
    if record is None:
        return
    for name, expected in record["files"].items():
        file = stored.folder / name
        if not file.is_file():
            yield f"{name}: is missing"
        elif (size := file.stat().st_size) != expected["bytes"]:
            yield f"{name}: has {size} bytes, its record says {expected['bytes']}"
        elif sha256_file(file) != expected["sha256"]:
            yield f"{name}: its content is not what was written"
    for file in sorted(_files(stored.folder)):
        name = file.relative_to(stored.folder).as_posix()
        if name not in record["files"] and name != RECORD:
            yield f"{name}: stands in no record"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
