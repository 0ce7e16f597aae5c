"""A storage behind fsspec, at `toy:///folder`: as one in a bucket is, but on the local disk.

A bucket cannot rename. So each time that an artifact is put, its files go to a folder of their own,
`<place>/<upload>/`, which counts once a record is in it.
"""

import uuid
from collections.abc import Iterable
from pathlib import Path

import fsspec

from kdray.artifacts import RECORD
from kdray.errors import InputError


class ToyStorage:
    """Artifacts in a folder that is reached by fsspec only."""

    def __init__(self, uri: str) -> None:
        self.fs = fsspec.filesystem("file", auto_mkdir=True)
        self.root = uri.removeprefix("toy://")
        if not self.root.startswith("/"):
            raise InputError(f"execution.storage {uri}: not absolute; write toy:///folder")

    def record(self, place: str) -> bytes | None:
        for path in self._records(place):
            return bytes(self.fs.cat_file(path))
        return None

    def records(self, stage: str) -> Iterable[bytes]:
        return (self.fs.cat_file(path) for path in self._records(stage))

    def put(self, folder: Path, place: str) -> None:
        upload = f"{self.root}/{place}/{uuid.uuid4().hex}"
        names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        for name in names:
            if name != RECORD:
                self.fs.put_file(f"{folder}/{name}", f"{upload}/{name}")
        with self.fs.transaction, self.fs.open(f"{upload}/{RECORD}", "wb") as file:
            file.write((folder / RECORD).read_bytes())

    def get(self, place: str, folder: Path) -> None:
        upload = self._records(place)[0].removesuffix(f"/{RECORD}")
        for path in self.fs.find(upload):
            name = path.removeprefix(f"{upload}/")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(path, f"{folder}/{name}")

    def _records(self, below: str) -> list[str]:
        return [path for path in self.fs.find(f"{self.root}/{below}") if path.endswith(RECORD)]
