"""What a folder store writes, and where it refuses to."""

import json
import os
from pathlib import Path

import pytest
from disk_events import largest_file
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Store, sha256_file, write_json
from kdray.errors import ArtifactDamaged, InputError, StageFailed


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

    @pytest.mark.parametrize("ask", ["find", "fetch", "verify", "publish", "cached"])
    def test_a_place_without_its_record_is_named_before_anything_is_made(self, store, ask) -> None:
        path = store.publish(KEY, fill).path
        (path / RECORD).unlink()
        arguments = [lambda _: pytest.fail("made again")] if ask in ("publish", "cached") else []
        with pytest.raises(ArtifactDamaged) as caught:
            getattr(store, ask)(KEY, *arguments)
        assert str(caught.value) == (
            f"{path}/{RECORD}: is missing; remove the folder {path} and run again"
        )
        assert [path.name for path in (store.root / "corpus").iterdir()] == [KEY.fingerprint]

    def test_an_empty_folder_is_a_miss(self, store: Store) -> None:
        store.path(KEY).mkdir(parents=True)
        assert store.publish(KEY, fill) == store.find(KEY)

    def test_a_full_disk_is_one_message(self, store: Store) -> None:
        def build(folder: Path) -> dict[str, int]:
            with largest_file(100):
                (folder / "table").write_text("x" * 1000)
            return {}

        with pytest.raises(StageFailed) as caught:
            store.publish(KEY, build)
        assert str(caught.value).startswith(f"{store.path(KEY)}: could not be made (")
        assert "MiB are free there; raise the limit on the size of a file, and" in str(caught.value)
        assert not list((store.root / "corpus").iterdir())


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

    @pytest.mark.parametrize("below", ["", "inner", "inner/deeper"])
    def test_who_only_looks_is_told_too(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("in the way")
        root = tmp_path / "file" / below
        with pytest.raises(InputError, match=f"{root}: .*{tmp_path / 'file'} is a file; name a"):
            Store.open(root, only_looks=True)
        assert Store.open(tmp_path / "not" / "yet", only_looks=True).find(KEY) is None


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
