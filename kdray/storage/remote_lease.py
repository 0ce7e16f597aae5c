"""Leases where nothing can be renamed and no file is locked: who works on something, by objects.

A lease is a row of numbered objects, `leases/<name>/000001` and on, each created only where there
is none. The highest one names the owner. Whoever takes over from a dead owner creates the next
number, which one process can, and the one before it finds out when it looks (`check`).

A process that holds leases writes an object of its own, `alive/<process>`, every few seconds. A
waiter counts, by its own clock alone, how long that object has stayed the same: clocks of two
machines are never compared. An owner on the waiter's own machine is known to be dead at once,
since the waiter has the local lease of the same name (`storage/lease`), which stands in `cache`.
"""

import atexit
import contextlib
import json
import os
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock

from kdray.errors import KdrayError, LeaseLost
from kdray.storage.held import POLL_SECONDS
from kdray.storage.lease import DAY_SECONDS, KERNEL, PATIENCE_SECONDS, this_process
from kdray.storage.remote import RemoteStorage
from kdray.storage.whole import whole

BEAT_SECONDS = 10.0
ALIVE, REMOTE_LEASES = "alive", "leases"


class RemoteLease:
    """A lease that this process holds in a storage until it is released."""

    def __init__(self, storage: RemoteStorage, state: "_State", place: str) -> None:
        self._storage, self._state, self.place = storage, state, place

    def check(self) -> None:
        """Prove that this process still holds it.

        Raises:
            LeaseLost: another process has taken it over.
        """
        top = _top(self._storage, self.place)
        if top != self._state:
            time.sleep(POLL_SECONDS)  # one that was late takes back what it has created
            top = _top(self._storage, self.place)
        if top != self._state:
            by = "is gone" if top is None else f"belongs to {top.holder} now"
            raise LeaseLost(
                f"{self.place}: {by}, because this process gave no sign of life for "
                f"{PATIENCE_SECONDS:.0f} s; run the same command again, which finds what was made"
            )

    def release(self) -> None:
        """Give it up. What is another's by now is left alone."""
        with contextlib.suppress(KdrayError):  # of a storage that does not answer any more
            numbers = range(self._state.number, 0, -1)  # the highest first, which counts
            self._storage.remove(_name(self.place, number) for number in numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class RemoteClaim:
    """A process that wants a lease, and knows since when its owner has given no sign of life.

    `cache` is the id of the local folder whose lease of the same name this process holds whenever
    it calls `take`.
    """

    def __init__(self, storage: RemoteStorage, name: str, *, cache: str) -> None:
        self.place, self.holder = f"{REMOTE_LEASES}/{name}", ""
        self._storage, self._cache = storage, cache
        self._seen: tuple[_State, bytes | None] | None = None
        self._since = 0.0

    def take(self) -> RemoteLease | None:
        """Try once. -> the lease, or None while another process holds it."""
        top = _top(self._storage, self.place)
        if top is not None and not self._is_dead(top):
            return None
        beat = heart.of(self._storage)
        number = 1 if top is None else top.number + 1
        mine = _State(number, uuid.uuid4().hex, beat.process, this_process(), self._cache)
        name = _name(self.place, number)
        if not self._storage.create(name, mine.content()):
            return None
        if top is not None and _at(self._storage, self.place, top.number) not in (top, None):
            self._storage.remove([name])  # the dead one's lease had been released and taken anew
            return None
        return RemoteLease(self._storage, mine, self.place)

    def _is_dead(self, top: "_State") -> bool:
        if top.cache == self._cache:
            return True
        beat, now = self._storage.read(f"{ALIVE}/{top.process}"), time.monotonic()
        if self._seen != (top, beat):
            self._seen, self._since, self.holder = (top, beat), now, top.holder
        return beat is None or now - self._since > PATIENCE_SECONDS or _is_old(beat)


@dataclass(frozen=True, slots=True)
class _State:
    """What the object of a lease says. holder: the owner in words."""

    number: int
    owner: str
    process: str
    holder: str
    cache: str

    def content(self) -> bytes:
        said = {"owner": self.owner, "process": self.process, "holder": self.holder}
        return json.dumps({**said, "cache": self.cache}).encode()

    @classmethod
    def read(cls, number: int, content: bytes) -> Self:
        said = json.loads(content)
        return cls(number, said["owner"], said["process"], said["holder"], said["cache"])


class _Heart:
    """Says of this process that it is alive, in each storage in which it holds leases."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Hold nothing, as a process does that was forked."""
        self._beats = dict[int, _Beat]()
        self._lock = threading.Lock()

    def of(self, storage: RemoteStorage) -> "_Beat":
        """The beat in a storage, which begins when it is first asked for."""
        with self._lock:
            if (beat := self._beats.get(id(storage))) is None:
                beat = self._beats[id(storage)] = _Beat(storage)
            return beat

    def stop(self) -> None:
        """At the end of the process."""
        for beat in self._beats.values():
            beat.stop()


class _Beat:
    def __init__(self, storage: RemoteStorage) -> None:
        self.process, self._storage, self._ended = uuid.uuid4().hex, storage, threading.Event()
        self._write()
        threading.Thread(target=self._beat, name="remote leases", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        with contextlib.suppress(Exception):
            self._storage.remove([self._name])

    @property
    def _name(self) -> str:
        return f"{ALIVE}/{self.process}"

    def _write(self) -> None:
        self._storage.write(self._name, json.dumps({"at": time.time()}).encode())

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(KdrayError):  # a network that is away for a moment
                self._write()


heart = _Heart()
os.register_at_fork(after_in_child=heart.forget)
atexit.register(heart.stop)


def cache_id(root: Path) -> str:
    """What tells a local folder from those of other machines, and from copies of it."""
    path = root / ".id"
    if not path.exists():
        with FileLock(root / ".id.lock"):
            if not path.exists():
                with whole(path) as aside:
                    aside.write_text(uuid.uuid4().hex)
    return f"{KERNEL}-{path.read_text()}"


def sweep_alive(storage: RemoteStorage) -> None:
    """Remove what processes left that were killed more than a day ago."""
    for name in storage.names(ALIVE):
        if (beat := storage.read(name)) is not None and _is_old(beat):
            storage.remove([name])


def _is_old(beat: bytes) -> bool:
    return bool(time.time() - json.loads(beat)["at"] > DAY_SECONDS)


def _top(storage: RemoteStorage, place: str) -> _State | None:
    """Who owns a lease, alive or dead."""
    for name in reversed(storage.names(place)):
        if (state := _at(storage, place, int(name.rpartition("/")[2]))) is not None:
            return state
    return None


def _at(storage: RemoteStorage, place: str, number: int) -> _State | None:
    content = storage.read(_name(place, number))
    return None if content is None else _State.read(number, content)


def _name(place: str, number: int) -> str:
    return f"{place}/{number:06d}"
