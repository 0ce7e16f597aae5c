"""A history has each update once."""

import json
from pathlib import Path

import pytest
from disk_events import largest_file

from kdray.errors import StageFailed
from kdray.fit.history import History, read_history


def rows(path: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in read_history(path)]


def test_it_reads_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.jsonl"
    history = History(path, step=0)
    assert read_history(path) == []
    history.append({"step": 5, "loss": 0.1 + 0.2})
    history.append({"step": 5, "loss": 2})
    assert rows(path) == [(5, 0.1 + 0.2), (5, 2)]


def test_there_is_none_before_a_run(tmp_path: Path) -> None:
    assert read_history(tmp_path / "none") == []


def test_a_resumed_run_drops_what_it_will_make_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path, step=0)
    for step in (5, 10, 10, 15, 20):
        history.append({"step": step, "loss": step})
    resumed = History(path, step=10)
    assert rows(path) == [(5, 5), (10, 10), (10, 10)]
    resumed.append({"step": 15, "loss": 0})
    assert rows(path) == [(5, 5), (10, 10), (10, 10), (15, 0)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_that_finds_no_room_is_an_error_and_the_others_stay(tmp_path) -> None:
    history = History(tmp_path / "history.jsonl", step=0)
    history.append({"step": 1, "loss": 3})
    with largest_file(30), pytest.raises(StageFailed) as caught:
        history.append({"step": 2, "loss": 4})
    assert "the row of update 2 could not be added (File too large)" in str(caught.value)
    assert rows(history.path) == [(1, 3)]


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_line_that_was_cut_is_no_row(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.jsonl"
    line = json.dumps({"step": 1, "loss": 3})
    path.write_text(f"{line}\n{line[: cut * len(line) // 9]}")
    assert rows(path) == [(1, 3)]
    History(path, step=9).append({"step": 2, "loss": 4})
    assert rows(path) == [(1, 3), (2, 4)]
    assert path.read_text().count("\n") == 2
