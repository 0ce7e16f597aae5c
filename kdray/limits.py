"""Hard limits of a command: hours that it may take, bytes that its storage may hold.

A thread looks on. When a limit is reached, the command is stopped as by SIGTERM, which it answers
by ending in order; the same command goes on later, with what is left to make.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdray.errors import LimitReached

LOOK_SECONDS = 2.0
SHARE = 0.05  # of the time, at most, is spent on looking through a large folder
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?")
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command may use; None: whatever it takes."""

    hours: float | None = None
    size: float | None = None  # bytes


def size_of(text: str) -> float:
    """Bytes of a size like 500M or 1.5G, in powers of a thousand.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write a number of bytes, or one as 500M or 1.5G")
    return float(match[1]) * _UNITS[match[2]]


@contextmanager
def limited(limits: Limits, folder: Path) -> Iterator[None]:
    """Run a block in the main thread until a limit is reached; the folder is what may grow.

    Raises:
        LimitReached: one was.
    """
    if limits == Limits():
        yield
        return
    ended, reasons = threading.Event(), list[str]()
    watch = threading.Thread(target=_watch, args=(limits, folder, ended, reasons), daemon=True)
    try:
        watch.start()
        yield
    except KeyboardInterrupt:
        if not reasons:
            raise
        raise LimitReached(
            f"{reasons[0]}; what is finished is kept, and the same command with a higher limit "
            "goes on from here"
        ) from None
    finally:
        ended.set()


def _watch(limits: Limits, folder: Path, ended: threading.Event, reasons: list[str]) -> None:
    began, wait = time.monotonic(), 0.0
    while not ended.wait(wait):
        looked = time.monotonic()
        if (reason := _reached(limits, folder, looked - began)) is not None:
            reasons.append(reason)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        wait = max(LOOK_SECONDS, (time.monotonic() - looked) / SHARE)


def _reached(limits: Limits, folder: Path, seconds: float) -> str | None:
    """Which limit is reached, in words."""
    if limits.hours is not None and seconds >= 3600 * limits.hours:
        return f"--max-hours {limits.hours:g} are over"
    if limits.size is not None and (used := used_bytes(folder)) >= limits.size:
        return f"--max-bytes {limits.size:g} are reached: {folder} holds {used} bytes"
    return None


def used_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; one with several names counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(path) / name).lstat()
            except OSError:  # it was moved or removed meanwhile
                continue
            sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())
