"""Curves are sent while training goes on: it never waits, and nothing is lost or sent twice."""

import threading

import pytest

from kdray.tracking import Tracker, beside


class Slow(Tracker):
    """Waits until it may go on before it takes rows, and records their steps."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.called = threading.Event()
        self.sent: list[list[int]] = []

    def log_history(self, run_id, rows):
        self.called.set()
        assert self.may_go_on.wait(timeout=30)
        self.sent.append([row["step"] for row in rows])


def rows(step):
    return [{"step": each} for each in range(1, step + 1)]


def test_a_slow_tracker_holds_up_nothing_and_gets_all_in_the_end() -> None:
    tracker = Slow()
    with beside(tracker, "run", rows) as send:
        send(1)
        assert tracker.called.wait(timeout=30)
        for step in (2, 3, 4):
            send(step)
        assert tracker.sent == []  # and yet we are here
        tracker.may_go_on.set()
    assert tracker.sent == [[1], [1, 2, 3, 4]]


def test_what_was_told_is_sent_when_training_fails() -> None:
    tracker = Slow()
    tracker.may_go_on.set()

    def training() -> None:
        with beside(tracker, "run", rows) as send:
            send(3)
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        training()
    assert tracker.sent == [[1, 2, 3]]


def test_a_history_that_cannot_be_read_is_told() -> None:
    def unreadable(step):
        raise OSError("no such disk")

    with (
        pytest.raises(OSError, match="no such disk"),
        beside(Tracker(), "run", unreadable) as s,
    ):
        s(1)


def test_nothing_to_send_is_nothing() -> None:
    tracker = Slow()
    with beside(tracker, "run", rows):
        pass
    assert tracker.sent == []
