"""What was verified is not read again; what changed since is found, whatever its size."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, VERIFIED, Store
from kdray.errors import ArtifactDamaged
from kdray.storage import content

FIND = """
import pickle, sys
from kdray.storage import content
read, sha256 = [], content.sha256_file
content.sha256_file = lambda path: read.append(path.name) or sha256(path)
store, key, ask = pickle.load(sys.stdin.buffer)
getattr(store, ask)(key)
print(",".join(read))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.fixture
def path(store: Store) -> Path:
    return store.publish(KEY, fill).path


def read_by_another_process(store: Store, ask: str = "find") -> list[str]:
    """The files whose content another process reads to verify an artifact."""
    line = [sys.executable, "-c", FIND]
    done = subprocess.run(line, input=pickle.dumps((store, KEY, ask)), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return sorted(filter(None, done.stdout.decode().strip().split(",")))


def flip(file: Path, *, keep_times: bool = False) -> None:
    """Change one bit in the middle of a file."""
    before, data = file.stat(), bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    with file.open("r+b") as opened:
        opened.write(data)
    if keep_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def damage(store: Store, ask: str = "find") -> str:
    with pytest.raises(ArtifactDamaged) as caught:
        getattr(store, ask)(KEY)
    assert str(caught.value).endswith(f"; remove the folder {store.path(KEY)} and run again")
    return str(caught.value)


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("name", ["table", "inner/part"])
@pytest.mark.parametrize("ask", ["find", "fetch", "verify"])
def test_a_flipped_bit_is_found(store, path, name, ask, keep_times) -> None:
    flip(path / name, keep_times=keep_times)
    assert f"{path}/{name}: its content is not what was written;" in damage(store, ask)


def test_so_is_one_in_any_value_of_a_record(store, path) -> None:
    written = (path / RECORD).read_bytes()
    for old, new in ((b'"pairs": 10', b'"pairs": 11'), (b'"bytes": 3', b'"bytes": 4'),
                     (b'"created": "2', b'"created": "3')):  # fmt: skip
        assert old in written
        (path / RECORD).write_bytes(written.replace(old, new))
        assert f"{path}/{RECORD}: was changed after it was written;" in damage(store)


def test_two_files_that_changed_places_are_found(store, tmp_path) -> None:
    def build(folder: Path) -> dict[str, int]:
        for name in "ab":
            (folder / name).write_text(name)
        return {}

    path = store.publish(KEY, build).path
    (path / "a").rename(path / "c")
    (path / "b").rename(path / "a")
    (path / "c").rename(path / "b")
    assert "/a: its content is not" in damage(store)


@pytest.mark.slow
def test_what_this_storage_published_is_not_read_again(store, path) -> None:
    assert read_by_another_process(store) == []
    assert read_by_another_process(store, "fetch") == []


@pytest.mark.slow
def test_a_moved_storage_is_read_once(store, path, tmp_path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    assert read_by_another_process(copy) == ["part", "table"]
    assert read_by_another_process(copy) == []


@pytest.mark.slow
def test_a_touched_file_is_read_again_and_the_others_are_not(store, path) -> None:
    os.utime(path / "table")
    assert read_by_another_process(store) == ["table"]
    assert read_by_another_process(store) == []


@pytest.mark.slow
def test_a_file_that_was_copied_over_is_read_again(store, path) -> None:
    """Its size and the time of its change are kept, as `cp -p` and rsync do."""
    shutil.copy2(path / "table", path / "copy")
    (path / "copy").replace(path / "table")
    assert read_by_another_process(store) == ["table"]


@pytest.mark.slow
def test_a_memory_that_is_damaged_is_no_memory(store, path) -> None:
    for text in ("", "[]", "{", '{"table": 3}'):
        (memory,) = (store.root / VERIFIED).iterdir()
        memory.write_text(text)
        assert read_by_another_process(store) == ["part", "table"]


def test_a_full_verification_reads_what_is_remembered(store, path, monkeypatch) -> None:
    """A disk that rots changes no time: that is told here by a memory of the rotten file."""
    flip(path / "table")
    monkeypatch.setattr(content, "sha256_file", lambda _: pytest.fail("read"))
    monkeypatch.setattr(content, "_verified", {})
    files = json.loads((path / RECORD).read_bytes())["files"]
    content.remember(path, files, memory=store._memory(KEY))
    assert store.find(KEY) is not None
    monkeypatch.undo()
    assert "/table: its content is not what was written" in damage(store, "verify")


@pytest.mark.slow
def test_who_only_looks_reads_what_it_fetches_and_writes_nothing(store, path) -> None:
    shutil.rmtree(store.root / VERIFIED)
    before = sorted(store.root.rglob("*"))
    looking = Store.open(store.root, only_looks=True)
    assert read_by_another_process(looking) == []
    assert read_by_another_process(looking, "fetch") == ["part", "table"]
    assert sorted(store.root.rglob("*")) == before
    flip(path / "table")
    damage(looking, "fetch")


@pytest.mark.parametrize("ask", ["find", "fetch", "verify"])
@pytest.mark.parametrize("name", ["test-x (copy).parquet", "inner/more", "000000/part", "table~"])
def test_a_file_that_nobody_wrote_is_no_content(store, path, ask, name) -> None:
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("")
    assert f"{path}/{name}: stands in no record (it is enough to move it" in damage(store, ask)
    (path / name).unlink()
    assert store.find(KEY) is not None, "a folder with nothing in it is no content"
    assert getattr(store, ask)(KEY) is None or ask != "verify"


def test_nor_is_a_link_to_a_folder(store, path, tmp_path) -> None:
    (tmp_path / "000000").mkdir()
    (path / "000000").symlink_to(tmp_path / "000000")
    assert f"{path}/000000: stands in no record" in damage(store)


def test_what_systems_leave_behind_is_let_be(store, path) -> None:
    for name in (".DS_Store", ".nfs0001", "inner/.hidden"):
        (path / name).write_text("x")
    (path / ".snapshot").mkdir()
    (path / ".snapshot" / "table").write_text("x")
    assert store.find(KEY) is not None


def test_a_file_that_cannot_be_read_is_named(store, path, monkeypatch) -> None:
    def broken(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(content, "sha256_file", broken)
    with pytest.raises(ArtifactDamaged, match=r"cannot be read \(Input/output error\); remove"):
        store.verify(KEY)
