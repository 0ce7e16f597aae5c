"""Storages other than a folder: what one has to be able to do, and how its URI leads to it.

Those that fsspec knows are there already (`storage/objects`). A package may bring another one, as
an entry point of the group `kdray.storage` that is named for the scheme of its URIs.
CONTRIBUTING.md says how; `tests/storage_laws.py` holds what each must obey.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from kdray.config.outside import failures, outside_kinds
from kdray.errors import InputError, KdrayError, StorageLost, redact

GROUP = "kdray.storage"
OF_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # told by `storage/disk`


class RemoteStorage(Protocol):
    """Objects by their names, such as `model/74f687d9a6eecbd7/record.json`.

    All machines that know the URI see the same. An object is whole or absent, whoever is killed
    while it is written, and what was written is seen by whoever looks later.

    Every call raises:
        InputError: what is asked for is refused: credentials, rights, a bucket.
        StorageLost: the storage does not answer.
    """

    def __init__(self, uri: str) -> None:
        """Be ready to use what a URI names.

        Raises:
            InputError: it cannot be used; what, where, why and how to repair it.
        """

    def read(self, name: str) -> bytes | None:
        """What an object holds; None if there is none."""

    def create(self, name: str, content: bytes) -> bool:
        """Write an object that is not there. -> False, and nothing is changed, if it is.

        Of several processes that create the same one at once, one does.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a small object, in place of one that is there."""

    def upload(self, file: Path, name: str) -> None:
        """Write an object of any size, in place of one that is there."""

    def download(self, name: str, file: Path) -> None:
        """Copy an object into a new file.

        Raises:
            FileNotFoundError: there is none.
        """

    def names(self, below: str) -> list[str]:
        """The names of all objects that begin with `<below>/`, sorted; with "", of all."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""


def remote_storage(uri: str) -> RemoteStorage:
    """The storage that a URI names, connected once in each process.

    Raises:
        InputError: nothing that is installed knows its scheme, or it cannot be used.
    """
    return _connected(uri, os.getpid())  # a forked process cannot use its parent's connections


@cache
def _connected(uri: str, process: int) -> RemoteStorage:
    from kdray.storage.objects import FsspecStorage, is_known  # late: a folder needs no fsspec

    brought, where = outside_kinds(GROUP), f"execution.storage {redact(uri)}"
    scheme = uri.partition("://")[0]
    if scheme not in brought and is_known(scheme):
        return FsspecStorage(uri)
    if scheme not in brought:
        known = ", ".join(f"{name}://" for name in ("file", "s3", "gs", *brought))
        raise InputError(
            f"{where}: no storage has the scheme {scheme}://; name a folder, use "
            f"one of {known} or another one of fsspec, or install the package that brings it"
            + "".join(f"; {failure}" for failure in failures if GROUP in failure)
        )
    try:
        storage: RemoteStorage = brought[scheme](uri)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # it is somebody else's code: anything may happen
        raise InputError(
            f"{where}: the storage that is installed for {scheme}:// cannot be "
            f"used: {type(error).__name__}: {error}; repair or remove the package that brings it"
        ) from error
    return _Brought(storage, where)


class _Brought(RemoteStorage):
    """The storage of another package, whose errors become ours. where: for messages."""

    def __init__(self, storage: RemoteStorage, where: str) -> None:
        self.storage, self.where = storage, where

    def read(self, name: str) -> bytes | None:
        with self._errors():
            return self.storage.read(name)

    def create(self, name: str, content: bytes) -> bool:
        with self._errors():
            return self.storage.create(name, content)

    def write(self, name: str, content: bytes) -> None:
        with self._errors():
            self.storage.write(name, content)

    def upload(self, file: Path, name: str) -> None:
        with self._errors():
            self.storage.upload(file, name)

    def download(self, name: str, file: Path) -> None:
        with self._errors(FileNotFoundError):
            self.storage.download(name, file)

    def names(self, below: str) -> list[str]:
        with self._errors():
            return sorted(self.storage.names(below))

    def remove(self, names: Iterable[str]) -> None:
        with self._errors():
            self.storage.remove(names)

    @contextmanager
    def _errors(self, own: type[Exception] = KdrayError) -> Iterator[None]:
        """Whatever it raises as one of ours; an error of our disk, or of the call's own, stays."""
        try:
            yield
        except (KdrayError, own):
            raise
        except (Exception, SystemExit) as error:  # it is somebody else's: anything may happen
            if getattr(error, "errno", None) in OF_OUR_DISK:
                raise
            said = redact(" ".join(str(error).split()))
            raise StorageLost(
                f"{self.where}: does not answer as it should ({type(error).__name__}: {said}); "
                "see that it runs and can be reached, and run the same command again"
            ) from error


def prove_usable(storage: RemoteStorage, location: str, *, mark: str) -> None:
    """Create an object twice, look for it, and remove it. The second time, it has to be refused.

    Raises:
        InputError: nothing can be written there, the storage cannot tell who was first, or it does
            not show what was written as it is.
    """
    name = f"probe/{mark}"
    try:
        first, second = (storage.create(name, b"probe") for _ in range(2))
        shows = storage.read(name) == b"probe" and name in storage.names("probe")
        storage.remove([name])
        shows = shows and storage.read(name) is None and name not in storage.names("probe")
    except StorageLost as error:
        raise InputError(str(error)) from None
    if not first or second:
        raise InputError(
            f"execution.storage {redact(location)}: does not refuse to create an object that is "
            "there (If-None-Match), by which commands keep out of each other's way; use a newer "
            "version of the service, or another one"
        )
    if not shows:
        raise InputError(
            f"execution.storage {redact(location)}: an object that was just written cannot be read "
            "or listed, or one that was removed still can; repair it, or use another one"
        )
