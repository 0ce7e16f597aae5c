"""In a file, a bar is a line now and then, which says how far it is and how fast."""

import io
import re

import pytest
from rich.console import Console

from kdray import progress
from kdray.progress import Display


@pytest.fixture
def seconds(monkeypatch):
    """The time, which a test moves on."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def bars_on(file, seconds, moves):
    """Move one bar: (seconds since the last move, done, total)."""
    with Display(Console(file=file, width=80)).bars() as bars:
        bars.progress.get_time = lambda: seconds[0]
        for passed, done, total in moves:
            seconds[0] += passed
            bars.move("model [1]", done, total, "loss 1")


def test_a_line_is_printed_when_a_bar_begins_every_fifteen_seconds_and_when_it_is_full(seconds):
    file = io.StringIO()
    moves = [(0, 100, 200), (5, 110, 200), (5, 120, 200), (5, 130, 200), (60, 130, 200),
             (10, 200, 200), (1, 200, 200)]  # fmt: skip
    bars_on(file, seconds, moves)
    assert file.getvalue().splitlines() == [
        "  model [1]: 100/200  loss 1",
        "  model [1]: 130/200, 2.0/s, 0:00:35 left  loss 1",
        "  model [1]: 200/200, 1.1/s  loss 1",
    ]


def test_a_bar_that_is_set_back_counts_its_rate_anew(seconds):
    file = io.StringIO()
    bars_on(file, seconds, [(0, 0, 100), (1, 50, 100), (1, 20, 100), (10, 30, 100), (10, 40, 100)])
    assert file.getvalue().splitlines()[-1] == "  model [1]: 40/100, 1.0/s, 0:01:00 left  loss 1"


def test_a_run_that_ends_early_is_full_with_its_last_step(seconds):
    file = io.StringIO()
    bars_on(file, seconds, [(0, 0, 100), (1, 50, 100), (1, 50, 50)])
    assert file.getvalue().splitlines()[-1] == "  model [1]: 50/50  loss 1"


def test_a_terminal_shows_bars_in_place():
    file = io.StringIO()
    with Display(Console(file=file, width=120, force_terminal=True)).bars() as bars:
        bars.move("model", 0, 4)
        bars.move("model", 3, 4, "loss 1")
    assert re.search(r"model .*3/4.*loss 1", file.getvalue())


def test_what_takes_a_moment_has_a_bar_and_what_is_quick_has_none(seconds):
    file = io.StringIO()
    display = Display(Console(file=file, width=80))
    assert list(display.followed("quick", range(5))) == [0, 1, 2, 3, 4]
    assert file.getvalue() == ""
    for _ in display.followed("slow", range(40)):
        seconds[0] += 1
    first, *_, last = file.getvalue().splitlines()
    assert first.startswith("  slow: 3/40")
    assert last.startswith("  slow: 40/40")
