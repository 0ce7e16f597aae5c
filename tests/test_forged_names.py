"""Names of files that a storage of objects tells never lead out of the folder that they are for."""

import json
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Store, canonical_json
from kdray.errors import ArtifactDamaged
from kdray.proof.artifacts import artifacts_of
from kdray.proof.prove import Proof, prove
from kdray.storage.content import outside
from kdray.storage.record import new_record
from kdray.storage.remote import RemoteStorage, remote_storage

UPWARDS = "../../../planted"


@pytest.fixture(params=["absolute", "upwards", "windows"])
def name(request, tmp_path: Path) -> str:
    """Of a file that somebody with the rights to write in the storage has put into a list."""
    of = {"absolute": f"{tmp_path}/planted", "upwards": UPWARDS, "windows": r"..\planted"}
    return of[request.param]


@pytest.fixture
def store(tmp_path: Path):
    """What a machine knows of a storage, in a folder of its own."""
    yield Store.open("memory://lab", cache=str(tmp_path / "a" / "cache"))
    fsspec.filesystem("memory").rm("/lab", recursive=True)


def bucket() -> RemoteStorage:
    return remote_storage("memory://lab")


def forged(tmp_path: Path, name: str) -> bytes:
    """A record whose checksum is right, and the object that it names."""
    folder = tmp_path / "forge"
    folder.mkdir()
    counts = fill(folder)
    record = new_record(KEY.stage, KEY.fingerprint, KEY.content(), folder, counts)
    record["files"][name] = record["files"].pop("table")
    del record["sha256"]
    record["sha256"] = sha256(canonical_json(record).encode()).hexdigest()
    return json.dumps(record).encode()


def planted(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*planted*") if "forge" not in path.parts]


def test_what_is_published_is_within() -> None:
    assert outside(["table", "inner/part", ".hidden", "a..b", "…"]) is None
    for name in ("", "/etc/x", "..", "a/../b", "a//b", "./a", "a/", "a\\b", "a\0"):
        assert outside(["table", name]) == name


def test_an_artifact_is_not_fetched(store, name, tmp_path) -> None:
    content = forged(tmp_path, name)
    digest = json.loads(content)["files"][name]["sha256"]
    fsspec.filesystem("memory").pipe_file(f"/lab/{KEY.place}/{digest}/{name}", b"0123456789")
    bucket().create(f"{KEY.place}/{RECORD}", content)
    for use in (store.find, store.fetch, store.verify):
        with pytest.raises(ArtifactDamaged, match="no path within"):
            use(KEY)
    with artifacts_of(store) as artifacts:
        damages = list(prove(artifacts, Proof()))
    assert damages == [f"{KEY.place}: {RECORD}: names {name!r}, which is no path within its folder"]
    assert not planted(tmp_path)


def test_a_place_that_leads_out_is_no_artifact(store, tmp_path) -> None:
    memory = fsspec.filesystem("memory")
    for place in ("lab/../0123456789abcdef", "lab//0123456789abcdef"):
        memory.pipe_file("/lab/x", b"{}")
        memory.store[f"/{place}/{RECORD}"] = memory.store.pop("/lab/x")
    assert len(bucket().names("")) == 2, "they are there"
    with artifacts_of(store) as artifacts:
        assert artifacts.places() == []


def test_a_part_is_not_brought(store, name, tmp_path) -> None:
    parts = store.parts(KEY, store.work_path(KEY) / "shards")
    files = {name: {"bytes": 3, "sha256": "0" * 64}}
    bucket().create(f"{parts.place}/000001/{RECORD}", json.dumps({"files": files}).encode())
    fsspec.filesystem("memory").pipe_file(f"/lab/{parts.place}/000001/{'0' * 64}/{name}", b"abc")
    with pytest.raises(ArtifactDamaged, match="no path within"):
        parts.bring()
    assert not planted(tmp_path)


def test_a_snapshot_is_not_pulled(store, name, tmp_path) -> None:
    mirror = store.mirror(KEY)
    bucket().write(f"{mirror.place}/objects/1", b"abc")
    bucket().create(
        f"{mirror.place}/00000001.json", json.dumps({name: f"{mirror.place}/objects/1"}).encode()
    )
    for use in (mirror.pull, lambda: mirror.read(name)):
        with pytest.raises(ArtifactDamaged, match="no path within"):
            use()
    assert not planted(tmp_path)
