"""What a disk says when it is full, read-only or broken, as one message."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdray.errors import InputError, KdrayError, StageFailed

_REPAIRS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of a file",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount the folder anew",
    errno.ENOTCONN: "mount the folder anew",
    errno.ENOTDIR: "move away the file that stands where a folder must be",
    errno.EISDIR: "move away the folder that stands where a file must be",
    errno.EEXIST: "move away what stands in its place",
    errno.ELOOP: "correct the link",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EBUSY: "end what uses it",
    errno.ETXTBSY: "end what uses it",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "end what holds so many files open",
}
_NUMBER = re.compile(r"(?:errno|os error) (\d+)", re.IGNORECASE)  # as C++ and Rust write it


def disk_failure(error: BaseException, place: Path | str | None = None) -> str | None:
    """What happened at a place, the cause and the repair; None if it was not the disk.

    Libraries raise errors of their own with the system's number in the text. Those count too.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (written := _NUMBER.search(str(error))):
        number = int(written[1])
    if number not in _REPAIRS:
        return None
    cause = " ".join(str(error).split()) or os.strerror(number)
    named = place or getattr(error, "filename", None)
    where, free = named or "a file", room(named) if named else ""
    verb = "made" if place else "read or written"
    return (
        f"{where}: could not be {verb} ({cause}){free}; {_REPAIRS[number]}, and run the "
        "same command again"
    )


def room(place: Path | str) -> str:
    """How much is free where a path is, or will be, in words; empty if nobody knows."""
    path = Path(place).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return f", {shutil.disk_usage(path).free / 2**20:.0f} MiB are free there"
    except OSError:
        return ""


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Raise what the disk says while something is made as one message.

    Raises:
        StageFailed: there is no room, or the place cannot be written.
    """
    try:
        yield
    except KdrayError:
        raise
    except Exception as error:
        if (message := disk_failure(error, place)) is None:
            raise
        raise StageFailed(message) from error


def prove_writable(root: Path, *, named_by: str) -> Path:
    """Create a folder, and a file in it for a moment. -> its absolute path.

    Raises:
        InputError: it cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
        return root.resolve()
    except (OSError, ValueError) as error:  # of the latter kind: NUL, or half a character
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{named_by} {root}: cannot be written ({reason}); name a folder that you may write"
        ) from None
