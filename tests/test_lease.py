"""One process at a time holds a lease; those of the dead are taken over, and it is found out."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from storage_laws import forked, until, wait

from kdray.errors import InputError, LeaseLost
from kdray.storage import held, lease
from kdray.storage.lease import Claim, Lease, hold, is_held


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases" / "a"


@pytest.fixture
def holder(path: Path):
    """A process that holds the lease until it is killed. -> its id."""
    child = forked(lambda: (hold(path), signal.pause()))
    until(lambda: is_held(path) and Claim(path).take() is None and "process" in path.read_text())
    yield child
    os.kill(child, signal.SIGKILL)
    wait(child)


def taken(claim: Claim) -> Lease:
    """The lease, once it can be taken."""
    leases: list[Lease] = []
    until(lambda: (one := claim.take()) is not None and (leases.append(one) or True))
    return leases[0]


def stop(process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)


def of_another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a waiter on another host knows: heartbeats alone."""
    monkeypatch.setattr(lease, "KERNEL", "of another machine")


def test_it_is_held_by_one_and_then_by_the_next(path: Path) -> None:
    with hold(path) as first:
        first.check()
        assert is_held(path)
        claim = Claim(path)
        assert claim.take() is None
        assert f"process {os.getpid()} on " in claim.holder
    assert not is_held(path)
    assert list(path.parent.iterdir()) == []
    with taken(claim) as second:
        second.check()


@pytest.mark.slow
def test_a_waiter_says_once_for_whom_it_waits(path: Path, holder: int, monkeypatch) -> None:
    monkeypatch.setattr(held, "POLL_SECONDS", 0.01)
    told: list[str] = []
    with pytest.raises(InputError, match=rf"process {holder} on .* goes on; wait for it, or stop"):
        hold(path, waits=told.append, seconds=0.2)
    assert len(told) == 1
    assert told[0].startswith(f"process {holder} on ")


@pytest.mark.slow
def test_a_killed_owner_is_known_at_once_on_its_own_machine(path: Path, holder: int) -> None:
    os.kill(holder, signal.SIGKILL)
    began = time.monotonic()
    with taken(Claim(path)):
        assert time.monotonic() - began < lease.PATIENCE_SECONDS / 4
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_elsewhere_it_takes_a_minute_without_a_heartbeat(path, holder, monkeypatch) -> None:
    of_another_kernel(monkeypatch)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.5)
    claim = Claim(path)
    os.kill(holder, signal.SIGKILL)
    assert claim.take() is None, "it was just seen for the first time"
    assert is_held(path)
    time.sleep(0.2)
    assert claim.take() is None
    with taken(claim):
        pass


@pytest.mark.slow
def test_an_owner_that_lives_is_never_taken_for_dead(path, monkeypatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.5)
    child = forked(lambda: (hold(path), signal.pause()))
    until(lambda: path.exists() and path.stat().st_size)
    of_another_kernel(monkeypatch)
    claim, ends = Claim(path), time.monotonic() + 1.5
    while time.monotonic() < ends:
        assert claim.take() is None
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    taken(claim).release()
    wait(child)


@pytest.mark.slow
def test_a_clock_that_is_wrong_decides_nothing_within_a_day(path, holder, monkeypatch) -> None:
    of_another_kernel(monkeypatch)
    for hours in (-20, 20, 1000):
        os.utime(path, (time.time() + hours * 3600,) * 2)
        assert is_held(path)
        assert Claim(path).take() is None
    os.utime(path, (time.time() - 25 * 3600,) * 2)
    assert not is_held(path)


@pytest.mark.slow
def test_an_owner_that_was_asleep_for_too_long_knows_it(path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.3)

    def sleeper() -> None:
        with hold(path) as own:
            own.check()
            (tmp_path / "held").touch()
            until((tmp_path / "taken").exists)
            with pytest.raises(LeaseLost, match=r"belongs to process \d+ on .* now"):
                own.check()

    child = forked(sleeper)
    until((tmp_path / "held").exists)
    stop(child)
    with taken(Claim(path)) as own:
        (tmp_path / "taken").touch()
        os.kill(child, signal.SIGCONT)
        assert wait(child) == [0]
        own.check()
    assert list(path.parent.iterdir()) == [], "the sleeper left the other's alone, and it its own"


@pytest.mark.slow
def test_many_processes_that_want_the_lease_of_a_dead_one_work_one_by_one(path, holder, tmp_path):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.001)
    busy, done = tmp_path / "busy", tmp_path / "done"

    def work() -> None:
        for _ in range(20):
            with hold(path) as own:
                busy.mkdir()  # raises if another one is at work
                own.check()
                busy.rmdir()
                with done.open("a") as file:
                    file.write("x")

    children = [forked(work) for _ in range(4)]
    os.kill(holder, signal.SIGKILL)
    assert wait(*children) == [0] * 4
    monkeypatch.undo()
    assert len(done.read_text()) == 80


@pytest.mark.slow
def test_a_file_that_says_nothing_is_of_one_that_begins_or_that_died(path, monkeypatch) -> None:
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.2)
    claim = Claim(path)
    assert claim.take() is None
    assert claim.holder == "a process that is about to begin"
    taken(claim).release()


def test_one_of_another_user_is_held(path, monkeypatch) -> None:
    path.parent.mkdir()
    path.touch()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(lease.os, "open", refuse)
    assert is_held(path)
    lease.clear(path)
    assert path.exists()


def test_what_is_left_as_dead_is_held_by_nobody(path) -> None:
    path.parent.mkdir()
    lease.leave_dead(path)
    assert not is_held(path)
    lease.clear(path)
    assert not path.exists()


@pytest.mark.slow
def test_one_thread_keeps_all_leases_of_a_process_alive(tmp_path, monkeypatch) -> None:
    def work() -> None:
        lease.BEAT_SECONDS = 0.02
        leases = [hold(tmp_path / str(number)) for number in range(30)]
        assert threading.active_count() == 2
        before = [one.path.stat().st_mtime_ns for one in leases]
        until(lambda: all(one.path.stat().st_mtime_ns > was
                          for one, was in zip(leases, before, strict=True)))  # fmt: skip
        for one in leases:
            one.release()
        assert list(tmp_path.iterdir()) == []

    assert wait(forked(work)) == [0]
