"""A work folder that outlives its machine: its files are kept in a storage, and brought back.

What is kept is a snapshot: objects under names of their own, and a numbered list of them,
`<place>/00000001.json` and on, each created only where there is none. The highest list counts. So
a snapshot is whole or absent, and a process that was taken for dead cannot add one to those of its
successor: the number that it would take is there.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from kdray.errors import LeaseLost, redact
from kdray.storage.content import outside
from kdray.storage.folders import remove_below
from kdray.storage.record import damaged, read_json, write_json
from kdray.storage.remote import remote_storage

STATE, LOCK = ".kept.json", ".kept.lock"
_SMALL = 2**22  # bytes; such a file is read at once, since it may grow meanwhile

Listed = Mapping[str, str]
"""The object of each file, by its path within the folder."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A local folder, and where its snapshots are. It can be pickled."""

    uri: str
    place: str
    folder: Path

    def push(self) -> None:
        """Keep the folder as it is. Files that were kept or brought before are not read again.

        Raises:
            LeaseLost: another process has kept a later snapshot than the one known here.
        """
        storage, (number, known) = remote_storage(self.uri), self._known()
        stamps = {name: _stamp(self.folder / name) for name in _files(self.folder)}
        objects = dict[str, str]()
        for name, stamp in stamps.items():
            held = known.get(name)
            if held is not None and held[1] == stamp:
                objects[name] = held[0]
                continue
            objects[name] = f"{self.place}/objects/{uuid.uuid4().hex}"
            if stamp[0] <= _SMALL:
                storage.write(objects[name], (self.folder / name).read_bytes())
            else:
                storage.upload(self.folder / name, objects[name])
        listed = self._list(number + 1)
        if not storage.create(listed, json.dumps(objects).encode()):
            raise LeaseLost(
                f"{self.folder}: another process goes on with this training, because this one gave "
                "no sign of life; run the same command again, which finds what was made"
            )
        self._note(number + 1, {name: [objects[name], stamps[name]] for name in objects})
        old = {held[0] for held in known.values()} - set(objects.values())
        storage.remove([*([self._list(number)] if number else []), *sorted(old)])

    def pull(self) -> None:
        """Make the folder what was kept last. Without a snapshot, it becomes empty.

        Several processes of a machine may do it at once; nobody may write into the folder.

        Raises:
            ArtifactDamaged: the snapshot names a file outside of the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / LOCK):
            number, objects = self._newest()
            _, known = self._known()
            kept = dict[str, list[Any]]()
            for name in _files(self.folder):
                held = known.get(name)
                if held and held == [objects.get(name), _stamp(self.folder / name)]:
                    kept[name] = held
                else:
                    (self.folder / name).unlink()
            for name in objects.keys() - kept.keys():
                file = self.folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                remote_storage(self.uri).download(objects[name], file)
                kept[name] = [objects[name], _stamp(file)]
            self._note(number, kept)
            for folder in sorted(self.folder.rglob("*"), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def read(self, name: str) -> bytes | None:
        """One file as it was kept last."""
        _, objects = self._newest()
        return remote_storage(self.uri).read(objects[name]) if name in objects else None

    def remove(self) -> None:
        """Remove all that is kept."""
        remove_below(remote_storage(self.uri), self.place)

    def _newest(self) -> tuple[int, Listed]:
        """The number and the list of the last snapshot; 0 and nothing if there is none."""
        storage = remote_storage(self.uri)
        while lists := [name for name in storage.names(self.place) if name.endswith(".json")]:
            if (content := storage.read(lists[-1])) is not None:  # a later one may have come
                objects = json.loads(content)
                if (wrong := outside(objects)) is not None:
                    where = f"{redact(self.uri)}/{self.place}"
                    raise damaged(where, f": names {wrong!r}, which is no path within a folder")
                return int(Path(lists[-1]).stem), objects
        return 0, {}

    def _list(self, number: int) -> str:
        return f"{self.place}/{number:08d}.json"

    def _known(self) -> tuple[int, dict[str, list[Any]]]:
        """What this machine kept or brought last: its number, and object and stamp of each file."""
        path = self.folder / STATE
        if not path.exists():
            return 0, {}
        said = read_json(path)
        return said["number"], said["files"]

    def _note(self, number: int, files: Mapping[str, list[Any]]) -> None:
        write_json(self.folder / STATE, {"number": number, "files": dict(files)})


def _files(folder: Path) -> list[str]:
    """All files but hidden ones, which are being written."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder) for path in found)
    return sorted(
        name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)
    )


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
