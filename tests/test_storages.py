"""A folder and a storage from outside the package obey the same laws; a URI leads to either."""

import os
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from outside_packages import installed
from small_artifact import KEY, fill
from storage_laws import StorageLaws, files, opened

from kdray.artifacts import Store
from kdray.config import outside
from kdray.errors import ArtifactDamaged, InputError


class TestFolder(StorageLaws):
    @pytest.fixture
    def location(self, tmp_path: Path) -> str:
        return str(tmp_path / "runs")


class TestToy(StorageLaws):
    @pytest.fixture(autouse=True)
    def toys(self):
        with installed():
            yield

    @pytest.fixture
    def location(self, tmp_path: Path) -> str:
        return f"toy://{tmp_path}/bucket"

    @pytest.mark.parametrize("damage", ["cut", "removed"])
    def test_a_damaged_file_is_found_out_when_it_is_fetched(
        self, store, elsewhere, tmp_path, damage
    ) -> None:
        store.publish(KEY, fill)
        (file,) = (tmp_path / "bucket").rglob("table")
        os.truncate(file, 2) if damage == "cut" else file.unlink()
        with pytest.raises(ArtifactDamaged) as caught:
            elsewhere.fetch(KEY)
        where = f"{elsewhere.remote}/{KEY.place}"
        found = "has 2 bytes" if damage == "cut" else "is missing"
        assert str(caught.value) == (
            f"{where}/table: {found}, its record says 10; remove the folder {where} and its copy "
            f"{elsewhere.path(KEY)} and run again"
        )
        assert files(elsewhere.root) == []

    def test_a_record_of_something_else_is_found_out(self, store, tmp_path) -> None:
        store.publish(KEY, fill)
        (record,) = (tmp_path / "bucket").rglob("record.json")
        record.write_text(record.read_text().replace('"seed": 1', '"seed": 2'))
        with pytest.raises(ArtifactDamaged, match=r"fingerprint in recipe\.seed: 2 -> 1; remove"):
            store.find(KEY)

    def test_it_works_without_what_was_fetched(self, store) -> None:
        store.publish(KEY, fill)
        shutil.rmtree(store.root)
        assert store.find(KEY) is not None
        assert files(store.fetch(KEY)) == ["inner/part", "record.json", "table"]

    def test_its_local_folder_is_named_for_it(self, location, tmp_path) -> None:
        store = opened(location, tmp_path / "cache")
        name = location.replace("://", "-").replace("/", "-").replace("--", "-")
        assert store == Store(tmp_path / "cache" / "kdray" / name, location)
        assert store.root.is_dir()

    def test_a_cache_that_cannot_be_written_is_refused(self, location, tmp_path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(InputError) as caught:
            opened(location, tmp_path / "file")
        message = str(caught.value)
        assert message.startswith(f"XDG_CACHE_HOME {tmp_path}/file/kdray/toy-")
        assert "cannot be written (Not a directory)" in message

    def test_what_a_storage_refuses_is_told(self) -> None:
        with pytest.raises(InputError, match=r"toy://here: not absolute; write toy:///folder"):
            Store.open("toy://here")


@pytest.mark.parametrize("write", ["{}", "file://{}"])
def test_a_plain_path_and_a_file_uri_name_the_folder(tmp_path: Path, write: str) -> None:
    assert Store.open(write.format(tmp_path / "runs")) == Store(tmp_path / "runs")


def test_a_file_uri_may_hold_escapes(tmp_path: Path) -> None:
    assert Store.open(f"file://{tmp_path}/my%20runs") == Store(tmp_path / "my runs")
    assert Store.open(f"{tmp_path}/my%20runs") == Store(tmp_path / "my%20runs")


@pytest.mark.parametrize("location", ["s3:/bucket/x", "s3:x", "file:runs", "file://host/runs"])
def test_a_mistyped_uri_is_no_folder(location: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"execution.storage {location}: is neither a folder nor"):
        Store.open(location)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("toys", [False, True])
def test_an_unknown_scheme_names_the_known_ones(toys: bool) -> None:
    with installed() if toys else pytest.MonkeyPatch.context(), pytest.raises(InputError) as caught:
        Store.open("bucket://x/y")
    known = "file://, toy://" if toys else "file://"
    assert str(caught.value) == (
        "execution.storage bucket://x/y: no storage has the scheme bucket://; name a folder, use "
        f"one of {known}, or install the package that brings it"
    )


def test_a_folder_may_have_a_colon(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store.open("./runs:2").root == tmp_path / "runs:2"


def test_a_storage_that_cannot_be_made_is_told(monkeypatch) -> None:
    monkeypatch.setattr("kdray.storage.remote.outside_kinds", lambda group: {"bucket": 7})
    with pytest.raises(InputError, match="installed for bucket:// cannot be used: TypeError"):
        Store.open("bucket://unmade")


def test_a_package_that_cannot_be_loaded_is_told(monkeypatch) -> None:
    broken = EntryPoint("bucket", "kdray_nowhere:Bucket", "kdray.storage")
    monkeypatch.setattr(outside, "entry_points", lambda group: [broken])
    monkeypatch.setattr(outside, "failures", failures := [])
    monkeypatch.setattr("kdray.storage.remote.failures", failures)
    outside.outside_kinds.cache_clear()
    try:
        with pytest.raises(InputError) as caught:
            Store.open("bucket://x")
    finally:
        outside.outside_kinds.cache_clear()
    assert str(caught.value).endswith(
        "brings it; entry point kdray.storage:bucket (kdray_nowhere:Bucket): cannot be loaded: "
        "ModuleNotFoundError: No module named 'kdray_nowhere'"
    )
