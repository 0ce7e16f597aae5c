"""Files and folders come to their places whole, or not at all."""

import os
from pathlib import Path

import pytest
from disk_events import assert_on_disk_before_it_was_there, disk_events
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Store
from kdray.storage.whole import whole


def write_folder(place: Path, text: str) -> None:
    with whole(place, record="record") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "data").write_text(text)
        (folder / "record").write_text(text)


def test_a_folder_is_on_the_disk_before_it_is_at_its_place(tmp_path: Path) -> None:
    with disk_events() as events:
        write_folder(tmp_path / "new" / "a", "x")
    assert_on_disk_before_it_was_there(events, tmp_path / "new" / "a", "record")


def test_so_is_an_artifact(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with disk_events() as events:
        store.publish(KEY, fill)
    assert_on_disk_before_it_was_there(events, store.path(KEY), RECORD)


def test_a_file_is_on_the_disk_before_it_is_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with disk_events() as events, whole(tmp_path / "a") as aside:
        aside.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert events == [("sync", tmp_path / "a"), ("move", tmp_path / "a"), ("sync", tmp_path)]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("record", [None, "record"])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, record: str | None) -> None:
    def fail() -> None:
        with whole(tmp_path / "a", record=record) as aside:
            (aside if record is None else aside / "data").write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", [None, "record"])
def test_what_does_not_reach_the_disk_does_not_come_to_its_place(
    tmp_path: Path, monkeypatch, record: str | None
) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    def write() -> None:
        with whole(tmp_path / "a", record=record) as aside:
            (aside if record is None else aside / "data").write_text("half")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_record_stays(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", "first")
    write_folder(tmp_path / "a", "second")
    assert (tmp_path / "a" / "inner" / "data").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_folder_without_a_record_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "strange").touch()
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "a", "x")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "strange"]
