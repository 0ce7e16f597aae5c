"""Who works on something? A lease says it: a small file with its owner and a heartbeat.

One process at a time holds a lease. It touches the file every few seconds, so a file that nobody
touches for a minute, by the clock of the process that waits, was left by a dead owner and is taken
over. The clocks of two hosts are never compared for this. On the owner's own machine the kernel's
lock on the file tells at once. Process ids mean nothing elsewhere, and are there to be read only.
"""

import contextlib
import fcntl
import json
import math
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from kdray.errors import LeaseLost
from kdray.storage.held import POLL_SECONDS, wait_for

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # without a heartbeat, after which an owner counts as dead
DAY_SECONDS = 86_400.0  # a file that is older by any clock has no owner, whoever looks first
_BOOT = Path("/proc/sys/kernel/random/boot_id")
KERNEL = _BOOT.read_text().strip() if _BOOT.exists() else platform.node()


class Lease:
    """A lease that this process holds until it is released, or until the end of a `with` block."""

    def __init__(self, path: Path, descriptor: int, owner: str) -> None:
        self.path, self._descriptor, self._owner = path, descriptor, owner
        _heart.add(descriptor)

    def check(self) -> None:
        """Prove that this process still holds it.

        Raises:
            LeaseLost: another process has taken it over.
        """
        state = _read(self.path)
        if state is None or state.owner != self._owner:
            time.sleep(POLL_SECONDS / 10)  # others move the file away for a moment to look at it
            state = _read(self.path)
        if state is None or state.owner != self._owner:
            by = "is gone" if state is None else f"belongs to {state.holder} now"
            raise LeaseLost(
                f"{self.path}: {by}, because this process gave no sign of life for "
                f"{PATIENCE_SECONDS:.0f} s; run the same command again, which finds what was made"
            )

    def release(self) -> None:
        """Give it up. What is another's by now is left alone."""
        if self._descriptor in _heart:
            with contextlib.suppress(OSError):  # of a disk that cannot be written any more
                _remove(self.path, self._owner)
            self.close()

    def close(self) -> None:
        """Leave the file as that of a dead owner, who is known by it."""
        _heart.discard(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Heart:
    """Touches the files of all leases that this process holds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Hold nothing, as a process does that was forked."""
        self._descriptors: set[int] = set()
        self._lock = threading.Lock()
        self._beats = False

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._descriptors

    def add(self, descriptor: int) -> None:
        """Begin to touch a file."""
        with self._lock:
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._beat, name="leases", daemon=True).start()
            self._descriptors.add(descriptor)

    def discard(self, descriptor: int) -> None:
        """Touch a file no more: it is about to be closed."""
        with self._lock:
            self._descriptors.discard(descriptor)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for descriptor in self._descriptors:
                    with contextlib.suppress(OSError):  # a disk that is away for a moment
                        os.utime(descriptor)


_heart = _Heart()
os.register_at_fork(after_in_child=_heart.forget)


@dataclass(frozen=True, slots=True)
class _State:
    """What a lease's file says. owner: empty while its owner has only begun to write it."""

    owner: str
    holder: str  # in words
    touched: int
    is_unlocked: bool  # the kernel of this machine knows that its owner has ended


class Claim:
    """A process that wants a lease, and knows since when its owner has given no sign of life."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder = ""  # whom it waits for, in words
        self._state: _State | None = None
        self._since = 0.0

    @property
    def place(self) -> str:
        """The file, for messages."""
        return str(self.path)

    def take(self) -> Lease | None:
        """Try once. -> the lease, or None while another process holds it.

        Raises:
            OSError: the file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lease = _create(self.path)
        if (
            lease is None
            and (owner := self._dead_owner()) is not None
            and _remove(self.path, owner)
        ):
            lease = _create(self.path)
        return lease

    def _dead_owner(self) -> str | None:
        state, now = _read(self.path), time.monotonic()
        if state is None:  # released by now; the next attempt makes it anew
            return None
        if state != self._state:
            self._state, self._since, self.holder = state, now, state.holder
        is_dead = state.is_unlocked or now - self._since > PATIENCE_SECONDS or _is_old(state)
        return state.owner if is_dead else None


def hold(
    path: Path, *, waits: Callable[[str], None] = lambda holder: None, seconds: float = math.inf
) -> Lease:
    """Wait for a lease in a file; see `wait_for`."""
    return wait_for(Claim(path), waits=waits, seconds=seconds)


def this_process() -> str:
    """This process and the time of day, in words."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"process {os.getpid()} on {platform.node()} (since {since})"


def is_held(path: Path) -> bool:
    """Whether a process holds a lease, as far as one look can tell."""
    state = _read(path)
    return state is not None and not (state.is_unlocked or _is_old(state))


def clear(path: Path) -> None:
    """Remove a lease whose owner is dead, as far as it may be removed."""
    with contextlib.suppress(OSError):
        state = _read(path)
        if state is not None and (state.is_unlocked or _is_old(state)):
            _remove(path, state.owner)


def leave_dead(path: Path) -> None:
    """Write a lease that nobody holds."""
    path.write_bytes(_content("", "nobody"))


def _is_old(state: _State) -> bool:
    return time.time() - state.touched / 1e9 > DAY_SECONDS


def _create(path: Path) -> Lease | None:
    """A new lease, or None if the file is there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return None
    with contextlib.suppress(OSError):  # where there are no locks, heartbeats alone count
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    owner = uuid.uuid4().hex
    try:
        os.write(descriptor, _content(owner, this_process()))
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return Lease(path, descriptor, owner)


def _content(owner: str, holder: str) -> bytes:
    return json.dumps({"owner": owner, "holder": holder, "kernel": KERNEL}).encode()


def _read(path: Path) -> _State | None:
    """What a lease's file says; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:
        return _State("", "a process of another user", path.stat().st_mtime_ns, is_unlocked=False)
    try:
        touched = os.fstat(descriptor).st_mtime_ns
        try:
            content = json.loads(os.read(descriptor, 4096))
        except ValueError:
            return _State("", "a process that is about to begin", touched, is_unlocked=False)
        is_unlocked = content["kernel"] == KERNEL and _can_lock(descriptor)
        return _State(content["owner"], content["holder"], touched, is_unlocked)
    finally:
        os.close(descriptor)


def _can_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path, owner: str) -> bool:
    """Remove the file of this owner. -> whether it was there, and not that of another by now."""
    if (state := _read(path)) is None or state.owner != owner:
        return False
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    state = _read(aside)
    is_owners = state is not None and state.owner == owner
    if not is_owners:  # taken over between two looks at it: put it back, unless a third one came
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink()
    return is_owners
