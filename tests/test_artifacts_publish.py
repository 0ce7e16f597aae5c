"""What a folder store writes, and where it refuses to."""

import json
import os
from pathlib import Path

import pytest
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Store, sha256_file, write_json
from kdray.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


class TestPublish:
    def test_the_record_says_what_is_there(self, store: Store) -> None:
        path = store.publish(KEY, fill).path
        record = json.loads((path / RECORD).read_text())
        assert record["fingerprint"] == KEY.fingerprint == path.name
        assert (record["stage"], record["version"]) == ("corpus", 1)
        assert (record["recipe"], record["inputs"]) == (KEY.recipe, KEY.inputs)
        assert record["counts"] == {"pairs": 10}
        assert record["files"] == {
            name: {"bytes": size, "sha256": sha256_file(path / name)}
            for name, size in (("inner/part", 3), ("table", 10))
        }

    def test_a_place_that_is_taken_by_something_else_is_an_error(self, store: Store) -> None:
        (store.path(KEY) / "strange").mkdir(parents=True)
        with pytest.raises(OSError, match="not empty"):
            store.publish(KEY, fill)
        assert [path.name for path in (store.root / "corpus").iterdir()] == [KEY.fingerprint]


class TestOpen:
    def test_it_makes_the_folder_and_leaves_no_probe(self, tmp_path: Path) -> None:
        store = Store.open(tmp_path / "a" / "b")
        assert store.root == (tmp_path / "a" / "b").resolve()
        assert list(store.root.iterdir()) == []

    @pytest.mark.parametrize("below", ["", "inner", "inner/deeper"])
    def test_what_cannot_be_written_is_refused(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("in the way")
        root = tmp_path / "file" / below
        with pytest.raises(InputError) as caught:
            Store.open(root)
        message = str(caught.value)
        assert message.startswith(f"execution.storage {root}: cannot be written (")
        assert message.endswith("name a folder that you may write")
        assert caught.value.exit_code == 2


class TestWriteJson:
    def test_it_replaces_the_whole_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        for value in ({"long": list(range(100))}, {"é": 1}):
            write_json(path, value)
            assert json.loads(path.read_text(encoding="utf-8")) == value
        assert list(tmp_path.iterdir()) == [path]

    def test_what_cannot_be_written_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        write_json(path, {"old": True})
        with pytest.raises(TypeError):
            write_json(path, {"new": True, "bad": object()})
        assert json.loads(path.read_text()) == {"old": True}

    def test_a_reader_never_sees_half_a_file(self, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "a.json"
        write_json(path, {"old": True})
        seen = []
        monkeypatch.setattr(os, "fsync", lambda _: seen.append(json.loads(path.read_text())))
        write_json(path, {"new": True})
        assert seen == [{"old": True}, {"new": True}], "its content, and then its name"
        assert json.loads(path.read_text()) == {"new": True}
