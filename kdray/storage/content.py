"""Is the content of a folder what was written? Checksums, and what was verified before.

A file whose size, times and inode are those of an earlier verification is not read again. What
changes a file and none of these is a disk that rots: a full verification finds it.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdray.storage.whole import whole

RECORD = "record.json"
"""The file of a folder's record, which names all others, and not itself."""
Files = Mapping[str, Mapping[str, Any]]
"""`bytes` and `sha256` of each file, by its path within the folder."""


def outside(names: Iterable[str]) -> str | None:
    """The first name that is no path within a folder, on whatever system; None if none is.

    Names that were read from a storage are asked for this before a file is written under them.
    """
    for name in names:
        is_odd = "\\" in name or "\0" in name
        if is_odd or not {"", ".", ".."}.isdisjoint(name.split("/")):
            return name
    return None


_verified: dict[Path, dict[str, list[Any]]] = {}  # by this process


def sha256_file(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and checksum of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        }
        for path in files
    }


def wrong_size(folder: Path, files: Files) -> str | None:
    """What is wrong with the first file that is missing or has another size; None if none is."""
    for name, expected in files.items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size != expected["bytes"]:
            now = "is missing" if size is None else f"has {size} bytes"
            return f"/{name}: {now}, its record says {expected['bytes']}"
    return None


def foreign(folder: Path, files: Files) -> str | None:
    """What is wrong with the first file of a folder that nobody wrote there; None if none is.

    What a folder holds is looked for by patterns, such as `test-*.parquet`, so such a file could be
    taken for content. Names that begin with a dot, which systems and file managers leave behind,
    are never content.
    """
    for name in _names(folder):
        if name not in files and name != RECORD:
            return f"/{name}: stands in no record (it is enough to move it elsewhere)"
    return None


def _names(folder: Path) -> Iterator[str]:
    """The files in a folder by their paths within it, and links to folders, less hidden ones."""
    for place, folders, names in os.walk(folder):
        here = Path(place).relative_to(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*names, *links]):
            if not name.startswith("."):
                yield (here / name).as_posix()


def wrong_content(folder: Path, files: Files, *, memory: Path | None, again: bool) -> str | None:
    """What is wrong with the first file whose bytes are not those of its checksum; None if none is.

    What the file `memory` says is verified is not read, unless it shall be read `again`. Without a
    memory, or where it cannot be written, this process alone remembers.
    """
    known = {} if again else _verified.get(folder) or _remembered(memory)
    stamps = _stamps(folder, files)
    for name, stamp in stamps.items():
        if known.get(name) == stamp:
            continue
        try:
            checksum = sha256_file(folder / name)
        except OSError as error:
            return f"/{name}: cannot be read ({error.strerror})"
        if checksum != stamp[-1]:
            return f"/{name}: its content is not what was written"
    if known != stamps:
        _remember(folder, stamps, memory)
    _verified[folder] = stamps
    return None


def remember(folder: Path, files: Files, *, memory: Path | None) -> None:
    """Note that the files of a folder have these checksums."""
    _remember(folder, _stamps(folder, files), memory)


def _stamps(folder: Path, files: Files) -> dict[str, list[Any]]:
    """What a file is remembered by, and last its checksum."""
    stamps: dict[str, list[Any]] = {}
    for name, expected in files.items():
        stat = (folder / name).stat()
        times = [stat.st_mtime_ns, stat.st_ctime_ns]
        stamps[name] = [stat.st_size, *times, stat.st_ino, expected["sha256"]]
    return stamps


def _remember(folder: Path, stamps: dict[str, list[Any]], memory: Path | None) -> None:
    _verified[folder] = stamps
    if memory is not None:
        with contextlib.suppress(OSError), whole(memory) as aside:
            aside.write_text(json.dumps(stamps), encoding="utf-8")


def _remembered(memory: Path | None) -> dict[str, list[Any]]:
    try:
        stamps = {} if memory is None else json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}
