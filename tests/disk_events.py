"""What reaches the disk, and when."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_events() -> Iterator[list[tuple[str, Path]]]:
    """Record every file and folder that is synced, and every place that something is moved to.

    The inner path of what is synced beside its place is given as if it were at its place.
    """
    events: list[tuple[str, Path]] = []
    fsync, replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))

    def move(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        events[:] = [
            (what, target / path.relative_to(self) if path.is_relative_to(self) else path)
            for what, path in events
        ]
        events.append(("move", target))
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(Path, "replace", move)
        yield events


def assert_on_disk_before_it_was_there(
    events: list[tuple[str, Path]], place: Path, record: str
) -> None:
    """All in a folder was synced, the record last, then the folder, and then it was moved."""
    moved = len(events) - 1 - events[::-1].index(("move", place))
    before = [path for what, path in events[:moved] if what == "sync"]
    inside = [path for path in place.rglob("*") if path != place / record]
    assert inside, "there is something in it"
    last = {path: len(before) - 1 - before[::-1].index(path) for path in [*inside, place / record]}
    assert all(last[path] < last[place / record] for path in inside)
    assert before[-1] == place
    assert ("sync", place.parent) in events[moved:]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
