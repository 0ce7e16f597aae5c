"""Storages other than a folder: what one has to be able to do, and how its URI leads to it.

Packages bring them as entry points of the group `kdray.storage`, named for the scheme of their
URIs. CONTRIBUTING.md says how to add one; `tests/storage_laws.py` holds what each must obey.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Protocol

from kdray.config.outside import failures, outside_kinds
from kdray.errors import InputError

GROUP = "kdray.storage"


class RemoteStorage(Protocol):
    """Artifacts at places such as `model/74f687d9a6eecbd7`, for all machines that know its URI.

    What is at a place is whole or counts as absent, whoever was killed while it was put there.
    Several processes may put the same artifact at once; one of them stays, or the last.
    """

    def __init__(self, uri: str) -> None:
        """Be ready to use what a URI names.

        Raises:
            InputError: it cannot be used; what, where, why and how to repair it.
        """

    def record(self, place: str) -> bytes | None:
        """What `record.json` of a place holds, reading no more; None if nothing whole is there."""

    def records(self, stage: str) -> Iterable[bytes]:
        """The records of all places that begin with `<stage>/`."""

    def put(self, folder: Path, place: str) -> None:
        """Store all files of a folder at a place, `record.json` last."""

    def get(self, place: str, folder: Path) -> None:
        """Copy all files of a place, its record too, into an empty folder."""


@cache
def remote_storage(uri: str) -> RemoteStorage:
    """The storage that a URI names, connected once in each process.

    Raises:
        InputError: no installed package brings its scheme, or it cannot be used.
    """
    brought = outside_kinds(GROUP)
    scheme = uri.partition("://")[0]
    if scheme not in brought:
        known = ", ".join(f"{name}://" for name in ("file", *brought))
        raise InputError(
            f"execution.storage {uri}: no storage has the scheme {scheme}://; name a folder, use "
            f"one of {known}, or install the package that brings it"
            + "".join(f"; {failure}" for failure in failures if GROUP in failure)
        )
    try:
        storage: RemoteStorage = brought[scheme](uri)
    except InputError:
        raise
    except Exception as error:  # it is somebody else's code: anything may happen
        raise InputError(
            f"execution.storage {uri}: the storage that is installed for {scheme}:// cannot be "
            f"used: {type(error).__name__}: {error}; repair or remove the package that brings it"
        ) from error
    return storage
