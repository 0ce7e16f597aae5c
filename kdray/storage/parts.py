"""Finished parts of unfinished work, such as shards: kept in a storage for other machines.

Each part is a folder that is whole or absent, named by its number, and made by any process; of
several that make the same one, the first stays. What is true of all parts together, such as which
rows each has, is a file that is kept once, before any part. What changes while they are made, such
as what a process has in hand, is a file that is written again.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kdray.errors import redact
from kdray.storage.content import checksums, outside, wrong_content, wrong_size
from kdray.storage.folders import get_folder, put_folder
from kdray.storage.record import RECORD, damaged, not_within
from kdray.storage.remote import remote_storage
from kdray.storage.whole import whole


@dataclass(frozen=True, slots=True)
class Parts:
    """A local folder of parts, and where they are kept. It can be pickled."""

    uri: str
    place: str
    folder: Path

    def bring_file(self, name: str) -> None:
        """Have the file that was kept, if one was, in place of whatever is here."""
        content = remote_storage(self.uri).read(f"{self.place}/{name}")
        if content is not None:
            with whole(self.folder / name) as aside:
                aside.write_bytes(content)

    def keep_file(self, name: str) -> None:
        """Keep a file, unless one is kept."""
        content = (self.folder / name).read_bytes()
        remote_storage(self.uri).create(f"{self.place}/{name}", content)

    def write_file(self, name: str) -> None:
        """Keep a small file, in place of one that is kept."""
        content = (self.folder / name).read_bytes()
        remote_storage(self.uri).write(f"{self.place}/{name}", content)

    def remove_file(self, name: str) -> None:
        """Keep a file no longer; that none is kept is no error."""
        remote_storage(self.uri).remove([f"{self.place}/{name}"])

    def file_names(self) -> list[str]:
        """The files that are kept and belong to no part."""
        depth = self.place.count("/") + 1
        names = remote_storage(self.uri).names(self.place)
        return [name.rpartition("/")[2] for name in names if name.count("/") == depth]

    def keep(self, part: Path) -> None:
        """Keep a part that is whole."""
        files = checksums(part)
        record = json.dumps({"files": files}).encode()
        put_folder(remote_storage(self.uri), part, f"{self.place}/{part.name}", files, record)

    def bring(self) -> None:
        """Have all parts here that are kept, less those that are torn, damaged, or lack a file.

        Raises:
            ArtifactDamaged: the record of a part names a file outside of it.
        """
        storage = remote_storage(self.uri)
        for name in storage.names(self.place):
            part, _, last = name.removeprefix(f"{self.place}/").rpartition("/")
            path, place = self.folder / part, f"{self.place}/{part}"
            is_part = last == RECORD and "/" not in part and outside([part]) is None
            if not is_part or path.exists():
                continue
            files = json.loads(storage.read(name) or b'{"files": {}}')["files"]
            if (wrong := outside(files)) is not None:
                raise damaged(f"{redact(self.uri)}/{place}", not_within(wrong))
            with suppress(_IsLost), whole(path, record=RECORD) as folder:
                get_folder(storage, place, folder, files)
                wrong = wrong_size(folder, files) or wrong_content(
                    folder, files, memory=None, again=True
                )
                if not files or wrong is not None:
                    raise _IsLost


class _IsLost(Exception):
    """A file of a part is not there, or is torn: the part is made again."""
