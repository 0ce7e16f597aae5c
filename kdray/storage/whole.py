"""Files and folders that are whole or absent, whoever is killed and whenever the power fails."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(
    place: Path, *, record: str | None = None, may_move: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """Give a path beside a place, to write a file there, which comes to its place in the end.

    With the name of its `record`, it is a new folder to fill instead, the record last. The move is
    a rename, made when all is on the disk, unless `may_move` raises by then. If it or the block
    raises, nothing is moved, and nothing left.
    A file replaces the one that is at the place. A folder does not: one with a record that is
    there by then is that of another process that was as fast, and stays.

    Raises:
        OSError: it cannot be written, or a folder without a record is at the place.
    """
    aside = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")  # `leftovers` knows the form
    place.parent.mkdir(parents=True, exist_ok=True)
    if record is not None:
        aside.mkdir()
    try:
        yield aside
        inner = sorted(aside.rglob("*"), key=lambda path: path.name == record)
        for path in (*inner, aside):
            _sync(path)
        may_move()
        try:
            aside.replace(place)
        except OSError:
            if record is None or not (place / record).exists():
                raise
        _sync(place.parent)
    except OSError as error:
        if error.errno and error.filename is None:  # a write that fails does not say where
            error.filename = str(place)
        raise
    finally:
        if record is None:
            aside.unlink(missing_ok=True)
        else:
            shutil.rmtree(aside, ignore_errors=True)


def leftovers(place: Path) -> Iterator[Path]:
    """What killed processes left beside a place, which is finished or has no owner any more."""
    return place.parent.glob(f".{place.name}-????????")


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
