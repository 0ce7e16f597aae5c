"""Artifacts are whole or do not exist, whoever is killed or comes second."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Artifact, Key, Store, sha256_file, write_json
from kdray.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


class TestPublish:
    def test_what_was_built_is_found_again(self, store: Store) -> None:
        assert store.find(KEY) is None
        built = store.publish(KEY, fill)
        assert built == Artifact(key=KEY, path=store.path(KEY), counts={"pairs": 10})
        assert store.find(KEY) == built
        assert everything(built.path) == ["inner/part", RECORD, "table"]

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

    def test_a_second_call_builds_nothing(self, store: Store) -> None:
        first = store.cached(KEY, fill)
        assert store.cached(KEY, lambda _: pytest.fail("built again")) == first

    def test_another_key_is_a_miss(self, store: Store) -> None:
        store.publish(KEY, fill)
        assert store.find(Key("corpus", 2, KEY.recipe, KEY.inputs)) is None

    def test_a_build_that_raises_leaves_nothing_behind(self, store: Store) -> None:
        def fail(folder: Path) -> dict[str, int]:
            fill(folder)
            raise RuntimeError("no space")

        with pytest.raises(RuntimeError, match="no space"):
            store.cached(KEY, fail)
        assert everything(store.root) == []
        assert store.find(KEY) is None
        assert store.cached(KEY, fill).counts == {"pairs": 10}

    def test_counts_that_cannot_be_recorded_publish_nothing(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.publish(KEY, lambda folder: {**fill(folder), "bad": object()})
        assert everything(store.root) == []

    def test_the_work_folder_lives_until_the_artifact_does(self, store: Store) -> None:
        work = store.work_path(KEY)
        work.mkdir(parents=True)
        (work / "shard").write_text("done")

        def fail(folder: Path) -> dict[str, int]:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            store.publish(KEY, fail)
        assert (work / "shard").exists()
        store.publish(KEY, fill)
        assert not work.exists()

    def test_whoever_comes_second_gets_what_was_published(self, store: Store) -> None:
        def build_slowly(folder: Path) -> dict[str, int]:
            store.publish(KEY, fill)  # another process, meanwhile
            return {**fill(folder), "pairs": 11}

        second = store.publish(KEY, build_slowly)
        assert second.counts == {"pairs": 10}
        assert second == store.find(KEY)
        assert [path.name for path in (store.root / "corpus").iterdir()] == [KEY.fingerprint]

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
        assert seen == [{"old": True}]
        assert json.loads(path.read_text()) == {"new": True}


PROGRAM = """\
import sys, time
from pathlib import Path
from kdray.artifacts import Key, Store

def build(folder):
    (folder / "table").write_text("x" * 1000)
    if sys.argv[2] == "hang":
        print("building", flush=True)
        time.sleep(60)
    while time.time() < float(sys.argv[2]):
        time.sleep(0.001)
    return {"pairs": 1000}

found = Store.open(Path(sys.argv[1])).publish(Key("corpus", 1, {"seed": 1}), build)
print(found.counts["pairs"])
"""


@pytest.fixture
def launched() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test started; whatever still runs is ended."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def launch(root: Path, until: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), until],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_build_leaves_no_artifact_and_the_next_run_builds_it(store, launched) -> None:
    key = Key("corpus", 1, {"seed": 1})
    process = launch(store.root, "hang")
    launched.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert everything(store.root), "it was killed in the middle of its work"
    assert store.find(key) is None
    assert store.explain_miss(Key("corpus", 2, {})) == []
    assert store.cached(key, fill).counts == {"pairs": 10}
    assert store.find(key) is not None


def test_two_processes_that_publish_at_once_both_succeed(store, launched) -> None:
    start = str(time.time() + 1.5)
    launched += [launch(store.root, start), launch(store.root, start)]
    for process in launched:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "1000\n"), err
    key = Key("corpus", 1, {"seed": 1})
    assert store.find(key) is not None
    assert [path.name for path in (store.root / "corpus").iterdir()] == [key.fingerprint]
