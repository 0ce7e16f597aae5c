"""A folder and a storage from outside the package obey the same laws; a URI leads to either."""

import errno
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from outside_packages import installed
from storage_laws import RemoteLaws, StorageLaws, opened

from kdray.artifacts import Store
from kdray.config import outside
from kdray.errors import InputError, StorageLost
from kdray.storage import remote


class TestFolder(StorageLaws):
    @pytest.fixture
    def location(self, tmp_path: Path) -> str:
        return str(tmp_path / "runs")


class TestToy(RemoteLaws):
    @pytest.fixture(autouse=True)
    def toys(self):
        with installed():
            yield

    @pytest.fixture
    def location(self, tmp_path: Path) -> str:
        return f"toy://{tmp_path}/bucket"

    def test_its_local_folder_is_named_for_it(self, location, tmp_path) -> None:
        store = opened(location, tmp_path / "cache")
        name = location.replace("://", "-").replace("/", "-").replace("--", "-")
        folder = tmp_path / "cache" / "kdray"
        assert store == Store(folder / f"{name}-{store.root.name[-8:]}", location)
        assert store.root.is_dir()
        others = (f"{location}/1", f"{location}-1", location.replace("/bucket", "-bucket"))
        roots = {opened(each, tmp_path / "cache").root for each in (location, *others)}
        assert len(roots) == 4, "URIs of equal letters have folders of their own"
        assert all(root.parent == folder for root in roots)

    def test_without_a_place_for_caches_it_is_in_that_of_the_user(
        self, location, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert Store.open(location).root.parent == tmp_path / ".cache" / "kdray"

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
    known = "file://, s3://, gs://, toy://" if toys else "file://, s3://, gs://"
    assert str(caught.value) == (
        "execution.storage bucket://x/y: no storage has the scheme bucket://; name a folder, use "
        f"one of {known} or another one of fsspec, or install the package that brings it"
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


class Kept:
    """Objects in a dictionary, and what one call does instead of its own work."""

    def __init__(self, uri, **instead):
        self.objects = {}
        self.__dict__.update(instead)

    def read(self, name):
        return self.objects.get(name)

    def create(self, name, content):
        if name in self.objects:
            return False
        self.objects[name] = content
        return True

    def write(self, name, content):
        self.objects[name] = content

    def upload(self, file, name):
        self.objects[name] = file.read_bytes()

    def download(self, name, file):
        file.write_bytes(self.objects[name])

    def names(self, below):
        return (name for name in self.objects if name.startswith(below))

    def remove(self, names):
        for name in names:
            self.objects.pop(name, None)


@pytest.fixture
def kept(monkeypatch):
    """Makes a storage that a package brings, with something wrong in it."""

    def made(**instead):
        group = {"kept": lambda uri: Kept(uri, **instead)}
        monkeypatch.setattr(remote, "outside_kinds", lambda _: group)
        remote._connected.cache_clear()
        return remote.remote_storage("kept://here")

    yield made
    remote._connected.cache_clear()


def lost(*_):
    raise ConnectionError("reset by peer")


def left(*_):
    raise SystemExit(0)


CALLS = {
    "read": ("a",), "create": ("a", b""), "write": ("a", b""), "upload": (Path("a"), "a"),
    "download": ("a", Path("a")), "names": ("a",), "remove": (["a"],),
}  # fmt: skip


@pytest.mark.parametrize("does", [lost, left])
@pytest.mark.parametrize("call", CALLS)
def test_whatever_the_storage_of_a_package_raises_is_told(kept, call, does) -> None:
    told = r"execution\.storage kept://here: does not answer as it should \((Conn|SystemExit)"
    with pytest.raises(StorageLost, match=told):
        getattr(kept(**{call: does}), call)(*CALLS[call])


def test_what_a_call_may_raise_and_a_full_disk_stay_as_they_are(kept, tmp_path) -> None:
    for error in (FileNotFoundError("a"), OSError(errno.ENOSPC, "full")):

        def raises(*_, error=error):
            raise error

        with pytest.raises(OSError) as caught:
            kept(download=raises).download("a", tmp_path / "a")
        assert caught.value is error


def test_names_may_be_given_one_by_one(kept) -> None:
    storage = kept()
    for name in ("a/2", "a/1"):
        storage.write(name, b"")
    assert storage.names("a") == ["a/1", "a/2"]
    remote.prove_usable(storage, "kept://here", mark="1")


@pytest.mark.parametrize(
    "instead",
    [{"read": lambda name: b"other"}, {"names": lambda below: []}, {"remove": lambda names: None}],
)
def test_a_storage_that_does_not_show_what_is_in_it_is_refused(kept, instead) -> None:
    with pytest.raises(InputError, match="cannot be read or listed, or one that was removed"):
        remote.prove_usable(kept(**instead), "kept://here", mark="1")
