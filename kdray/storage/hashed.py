"""What a user brought: is it still what it was when its content was hashed?

A plan names what users bring by its content, and steps read it minutes or hours later. Whoever
reads it has it proved before or afterwards, so that nothing is made of other content than the
fingerprint says.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from kdray.errors import DataError
from kdray.storage.content import sha256_file

Stamp = tuple[int, int, int, int]
"""Size in bytes, times of the changes of content and of inode in nanoseconds, inode."""
_TICK = 1_000_000_000  # nanoseconds: more than the clock of a file system needs for a step
_seen: dict[tuple[Path, Stamp], str] = {}
"""Checksums that this process found: a plan asks several times, and weights may have gigabytes."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """Files by their absolute paths, each with its stamp and its checksum. It can be pickled.

    There is no stamp where a file was so young that a change might have left it the same.
    """

    files: Mapping[Path, tuple[Stamp | None, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Self:
        """Hash some files.

        Raises:
            DataError: one cannot be read.
        """
        files = {}
        for path in (each.absolute() for each in paths):
            try:
                files[path] = _hashed(path)
            except OSError as error:
                raise DataError(
                    f"{path}: cannot be read ({error.strerror}); name a readable file"
                ) from None
        return cls(files)

    def sha256(self, path: Path) -> str:
        """The checksum of one of them, in hexadecimal."""
        return self.files[path.absolute()][1]

    @property
    def checksums(self) -> list[str]:
        """Of all, in their order."""
        return [checksum for _, checksum in self.files.values()]

    def prove(self, paths: Iterable[Path] | None = None) -> None:
        """Look at the files again. Only one whose stamp is another one is read.

        paths: the files that there are now, if there may be others than those that were hashed.

        Raises:
            DataError: the content of one is another one, or it is there no more, or is new.
        """
        now = self.files.keys() if paths is None else {path.absolute() for path in paths}
        for path in [*self.files, *sorted(now - self.files.keys())]:
            how = "was added" if path not in self.files else self._change(path)
            if how is not None:
                raise DataError(
                    f"{path}: {how} while the command ran, after its content was hashed; leave it "
                    "as it is and run the same command again"
                )

    def _change(self, path: Path) -> str | None:
        stamp, checksum = self.files[path]
        try:
            now = _stamp(path)
            if now == stamp:
                return None
            _, found = _hashed(path)
        except OSError as error:
            return f"can be read no more ({error.strerror}): it was changed"
        return None if found == checksum else "was changed"


def _hashed(path: Path) -> tuple[Stamp | None, str]:
    before, began = _stamp(path), time.time_ns()
    if (path, before) in _seen:
        return before, _seen[path, before]
    checksum = sha256_file(path)
    if max(before[1:3]) >= began - _TICK or _stamp(path) != before:
        return None, checksum
    _seen[path, before] = checksum
    return before, checksum


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
