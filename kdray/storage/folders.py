"""Folders in a storage of objects: whole once their record is there, or absent.

A file is at `<place>/<sha256 of its content>/<its name>`, and the record, which names the files and
their checksums, at `<place>/record.json`. So files of two processes that store the same folder at
once never mix, and the record is created only where there is none: the first one stays.
"""

from pathlib import Path

from kdray.storage.content import Files
from kdray.storage.record import RECORD
from kdray.storage.remote import RemoteStorage


def put_folder(
    storage: RemoteStorage, folder: Path, place: str, files: Files, record: bytes
) -> bool:
    """Store files of a folder, and then its record. -> whether this one stays."""
    for name, expected in files.items():
        storage.upload(folder / name, _object(place, name, expected["sha256"]))
    return storage.create(f"{place}/{RECORD}", record)


def get_folder(storage: RemoteStorage, place: str, folder: Path, files: Files) -> None:
    """Copy the files of a place into an empty folder, less what is missing."""
    for name, expected in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            storage.download(_object(place, name, expected["sha256"]), folder / name)
        except FileNotFoundError:
            (folder / name).unlink(missing_ok=True)


def remove_below(storage: RemoteStorage, place: str) -> None:
    """Remove all objects of a place, its record first, so that nothing torn is ever seen."""
    names = storage.names(place)
    storage.remove(sorted(names, key=lambda name: name != f"{place}/{RECORD}"))


def _object(place: str, name: str, checksum: str) -> str:
    return f"{place}/{checksum}/{name}"
