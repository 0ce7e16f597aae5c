"""A storage of its own kind, at `toy:///folder`: objects as a bucket has them, on the local disk.

A file that is written aside and linked to its name is whole, and the link fails where one is.
"""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from kdray.errors import InputError


class ToyStorage:
    """See `kdray.storage.remote.RemoteStorage`."""

    def __init__(self, uri: str) -> None:
        self.root = Path(uri.removeprefix("toy://"))
        if not self.root.is_absolute():
            raise InputError(f"execution.storage {uri}: not absolute; write toy:///folder")

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> bool:
        aside = self._aside(name)
        aside.write_bytes(content)
        try:
            (self.root / name).hardlink_to(aside)
        except FileExistsError:
            return False
        finally:
            aside.unlink()
        return True

    def write(self, name: str, content: bytes) -> None:
        aside = self._aside(name)
        aside.write_bytes(content)
        aside.replace(self.root / name)

    def upload(self, file: Path, name: str) -> None:
        aside = self._aside(name)
        shutil.copyfile(file, aside)
        aside.replace(self.root / name)

    def download(self, name: str, file: Path) -> None:
        shutil.copyfile(self.root / name, file)

    def names(self, below: str) -> list[str]:
        found = (path for path in (self.root / below).rglob("*") if path.is_file())
        names = (path.relative_to(self.root).as_posix() for path in found)
        return sorted(name for name in names if "/.aside-" not in name)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def _aside(self, name: str) -> Path:
        folder = (self.root / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f".aside-{uuid.uuid4().hex}"
