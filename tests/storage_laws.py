"""What every storage must obey. A package with another one reuses this file:

class TestMine(StorageLaws):
    @pytest.fixture
    def location(self, tmp_path):
        return "mine://..."  # a URI at which nothing is stored yet
"""

import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from small_artifact import KEY, fill

from kdray.artifacts import LEASES, RECORD, Artifact, Brought, Key, Store
from kdray.errors import ArtifactDamaged, InputError, LeaseLost
from kdray.storage import remote_lease
from kdray.storage.folders import put_folder
from kdray.storage.mirror import Mirror
from kdray.storage.record import new_record
from kdray.storage.remote import remote_storage

FETCH = "import pickle, sys; store, key = pickle.load(sys.stdin.buffer); print(store.fetch(key))"


class StorageLaws:
    """Laws of a store at a `location`, which has to be given as a fixture."""

    def killed_before(self, step: int, work: Callable[[], object]) -> bool:
        """Whether a process that does the work is killed after so many steps."""
        return killed_before(step, work)

    @pytest.fixture
    def store(self, location: str, tmp_path: Path) -> Store:
        return opened(location, tmp_path / "here")

    @pytest.fixture
    def elsewhere(self, location: str, tmp_path: Path) -> Store:
        """The same storage, from a machine that has fetched nothing yet."""
        return opened(location, tmp_path / "elsewhere")

    def test_what_was_published_is_found_and_fetched_everywhere(self, store, elsewhere) -> None:
        assert store.find(KEY) is elsewhere.find(KEY) is None
        built = store.publish(KEY, fill)
        assert built == Artifact(KEY, store.path(KEY), {"pairs": 10})
        assert store.find(KEY) == built
        other = elsewhere.find(KEY)
        assert other == Artifact(KEY, elsewhere.path(KEY), {"pairs": 10})
        for place in (store, elsewhere):
            assert place.fetch(KEY) == place.path(KEY)
            assert_whole(place.path(KEY))
        assert content(store.path(KEY)) == content(elsewhere.path(KEY))

    def test_finding_brings_nothing(self, store, elsewhere) -> None:
        store.publish(KEY, fill)
        before = sorted(elsewhere.root.rglob("*"))
        assert elsewhere.find(KEY) is not None
        assert elsewhere.explain_miss(Key("corpus", 2, {})) != []
        assert sorted(elsewhere.root.rglob("*")) == before

    def test_it_is_fetched_once(self, store, elsewhere) -> None:
        store.publish(KEY, fill)
        file = elsewhere.fetch(KEY) / "table"
        before = file.stat()
        assert elsewhere.fetch(KEY) / "table" == file
        assert file.stat() == before or elsewhere.remote is None

    def test_what_was_brought_is_read_where_it_is(self, store, tmp_path) -> None:
        assert store.fetch(Brought(tmp_path / "mine", "abc")) == tmp_path / "mine"

    def test_what_is_not_there_is_not_fetched(self, store) -> None:
        with pytest.raises(ArtifactDamaged) as caught:
            store.fetch(KEY)
        place = f"{store.remote or store.root}/corpus/{KEY.fingerprint}"
        assert str(caught.value) == f"{place}: is gone; run the same command again"
        assert files(store.root) == []

    def test_a_second_call_builds_nothing(self, store, elsewhere) -> None:
        first = store.cached(KEY, fill)
        assert store.cached(KEY, lambda _: pytest.fail("built again")) == first
        assert elsewhere.cached(KEY, lambda _: pytest.fail("built again")).counts == first.counts

    def test_another_key_is_a_miss(self, store) -> None:
        store.publish(KEY, fill)
        assert store.find(Key("corpus", 2, KEY.recipe, KEY.inputs)) is None

    def test_a_build_that_raises_publishes_nothing(self, store, elsewhere) -> None:
        def fail(folder: Path) -> dict[str, int]:
            fill(folder)
            raise RuntimeError("no space")

        with pytest.raises(RuntimeError, match="no space"):
            store.cached(KEY, fail)
        with pytest.raises(TypeError):
            store.publish(KEY, lambda folder: {**fill(folder), "bad": object()})
        assert files(store.root) == []
        assert store.find(KEY) is elsewhere.find(KEY) is None
        assert store.cached(KEY, fill).counts == {"pairs": 10}

    def test_the_work_folder_lives_until_the_artifact_does(self, store) -> None:
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

    @pytest.mark.slow
    def test_a_second_process_waits_and_gets_what_the_first_made(self, store, tmp_path) -> None:
        def build_slowly(folder: Path) -> dict[str, int]:
            with (tmp_path / "built").open("a") as file:
                file.write("x")
            time.sleep(0.3)
            return fill(folder)

        at_once(*[lambda: store.publish(KEY, build_slowly)] * 2)
        assert (tmp_path / "built").read_text() == "x"
        assert store.publish(KEY, build_slowly).counts == {"pairs": 10}
        assert (tmp_path / "built").read_text() == "x"

    def test_an_owner_that_lost_its_lease_publishes_nothing(self, store, elsewhere) -> None:
        def build_too_slowly(folder: Path) -> dict[str, int]:
            (lease,) = (store.root / LEASES).iterdir()
            lease.write_text(lease.read_text().replace('"owner": "', '"owner": "another'))
            return fill(folder)

        with pytest.raises(LeaseLost, match=r"belongs to process \d+ on .* now, because"):
            store.publish(KEY, build_too_slowly)
        assert store.find(KEY) is elsewhere.find(KEY) is None
        assert not list(store.root.glob("corpus/.*"))

    @pytest.mark.slow
    def test_what_a_killed_publisher_left_is_removed_by_the_next_command(self, store) -> None:
        """Whoever it is: the same artifact again, or one that sweeps."""
        for remove in (store.sweep, lambda: store.publish(KEY, fill)):
            publish_and_be_killed(store)
            (left,) = store.root.glob("corpus/.*")
            assert (left / "table").exists()
            remove()
            assert not list(store.root.glob("corpus/.*"))
            assert not list((store.root / LEASES).iterdir())

    def test_what_is_being_published_is_not_swept(self, store) -> None:
        def build(folder: Path) -> dict[str, int]:
            store.sweep()
            return fill(folder)

        store.publish(KEY, build)
        assert_whole(store.fetch(KEY))

    @pytest.mark.slow
    def test_publishing_that_is_killed_anywhere_leaves_nothing_or_all(self, store, elsewhere):
        for step in itertools.count():
            key = Key(f"stage-{step}", 1, {})
            if not self.killed_before(step, partial(store.publish, key, fill)):
                break
            if store.find(key) is None:
                assert elsewhere.find(key) is None
                assert store.explain_miss(Key(key.stage, 2, {})) == [], (
                    "no artifact, so a first run"
                )
            assert store.cached(key, fill).counts == {"pairs": 10}
            assert_whole(store.fetch(key))
            assert_whole(elsewhere.fetch(key))
        assert step > 5, "it was killed in the middle of its work"
        assert_whole(elsewhere.fetch(key))

    @pytest.mark.slow
    def test_fetching_that_is_killed_anywhere_leaves_nothing_or_all(self, store, elsewhere):
        store.publish(KEY, fill)
        for step in itertools.count():
            if not self.killed_before(step, partial(elsewhere.fetch, KEY)):
                break
            if elsewhere.path(KEY).exists():
                assert_whole(elsewhere.path(KEY))
                if elsewhere.remote is not None:
                    shutil.rmtree(elsewhere.path(KEY))
        assert step > 1 or elsewhere.remote is None
        assert_whole(elsewhere.fetch(KEY))
        assert not list(elsewhere.root.glob("corpus/.*"))

    @pytest.mark.slow
    def test_processes_that_publish_and_fetch_at_once_all_succeed(self, store, elsewhere) -> None:
        def publish(pairs: int) -> None:
            artifact = store.publish(key, lambda folder: {**fill(folder), "pairs": pairs})
            assert artifact.counts["pairs"] in (1, 2)

        def fetch() -> None:
            assert_whole(elsewhere.fetch(key))

        for attempt in range(5):
            key = Key("corpus", attempt, {})
            at_once(lambda: publish(1), lambda: publish(2))
            at_once(fetch, fetch, fetch)
            names = [path.name for path in (elsewhere.root / "corpus").iterdir()]
            assert key.fingerprint in names
            assert not [name for name in names if name.startswith(".")], "nothing is left aside"

    @pytest.mark.slow
    def test_it_pickles_and_works_in_another_process(self, store, elsewhere) -> None:
        store.publish(KEY, fill)
        pickled = pickle.dumps((elsewhere, KEY))
        assert len(pickled) < 1000
        assert pickle.loads(pickled) == (elsewhere, KEY)
        done = subprocess.run([sys.executable, "-c", FETCH], input=pickled, capture_output=True)
        assert done.stdout.decode() == f"{elsewhere.path(KEY)}\n", done.stderr.decode()
        assert_whole(elsewhere.path(KEY))

    def test_a_miss_names_what_changed_since_the_newest(self, store, elsewhere) -> None:
        wanted = Key("corpus", 2, {"seed": 2, "cleaning": {"max": 9, "min": 0}}, {"raw": "abc"})
        assert store.explain_miss(wanted) == []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kdray.storage.record.datetime", OldClock)
            store.publish(Key("corpus", 1, {"seed": 7}), fill)
        store.publish(KEY, fill)
        store.publish(Key("tokenizer", 1, {"other": "stage"}), fill)
        for place in (store, elsewhere):
            assert place.explain_miss(wanted) == [
                "recipe.cleaning.min: null -> 0",
                "recipe.seed: 1 -> 2",
                "version: 1 -> 2",
            ]
            assert place.explain_miss(
                Key("corpus", 1, {**KEY.recipe, "new": None}, KEY.inputs)
            ) == ["recipe.new: absent -> null"]
            assert place.explain_miss(KEY) == [], "a hit"
            assert place.explain_miss(Key("model", 1, {})) == [], "a first run"


class RemoteLaws(StorageLaws):
    """Besides these, laws of a store whose location is no folder, but the URI of a storage."""

    @pytest.fixture(autouse=True)
    def quiet(self):
        """No thread of a test that is over writes while a later one forks."""
        yield
        remote_lease.heart.stop()
        remote_lease.heart.forget()

    @pytest.mark.slow
    def test_of_two_machines_one_makes_it(self, store, elsewhere, tmp_path) -> None:
        def build_slowly(folder: Path) -> dict[str, int]:
            with (tmp_path / "built").open("a") as file:
                file.write("x")
            time.sleep(0.3)
            return fill(folder)

        at_once(*(partial(each.publish, KEY, build_slowly) for each in (store, elsewhere)))
        assert (tmp_path / "built").read_text() == "x"
        assert_whole(elsewhere.fetch(KEY))

    @pytest.mark.slow
    def test_who_is_taken_for_dead_on_another_machine_publishes_nothing(
        self, store, elsewhere, monkeypatch
    ) -> None:
        storage = remote_storage(store.remote)
        monkeypatch.setattr(remote_lease, "PATIENCE_SECONDS", 0.3)
        monkeypatch.setattr(
            remote_lease._Beat, "_write", lambda beat: storage.write(beat._name, b'{"at": 9e9}')
        )
        stale = store.alone(KEY)
        began = time.monotonic()
        with elsewhere.alone(KEY) as owner:
            assert time.monotonic() - began > 0.3, "its owner might have been alive"
            with pytest.raises(LeaseLost, match=r"belongs to process \d+ on .* now, because"):
                store.publish(KEY, fill, stale)
            assert store.find(KEY) is elsewhere.find(KEY) is None
            stale.release()
            owner.check()
            elsewhere.publish(KEY, fill, owner)
        assert_whole(store.fetch(KEY))
        assert storage.names("leases") == []

    def test_an_owner_that_is_alive_is_waited_for(self, store, elsewhere) -> None:
        with store.alone(KEY) as owner:
            with pytest.raises(InputError, match=r"process \d+ on .* has worked on this for 0 s"):
                elsewhere.alone(KEY, seconds=0)
            owner.check()
        elsewhere.alone(KEY, seconds=0).release()

    @pytest.mark.slow
    def test_a_killed_owner_is_known_at_once_on_its_own_machine(self, store) -> None:
        wait(forked(lambda: (store.alone(KEY), os.kill(os.getpid(), signal.SIGKILL))))
        assert len(remote_storage(store.remote).names("leases")) == 1
        began = time.monotonic()
        store.alone(KEY).release()
        assert time.monotonic() - began < remote_lease.PATIENCE_SECONDS / 4

    def test_of_two_that_publish_at_once_the_first_record_stays(self, store, elsewhere) -> None:
        """Even if both were owners: what is published is whole, and is one of the two."""

        def build(folder: Path) -> dict[str, int]:
            other = elsewhere.path(KEY).parent / "other"
            fill(other) if not other.mkdir(parents=True) else None
            (other / "table").write_text("9876543210")
            record = new_record(KEY.stage, KEY.fingerprint, KEY.content(), other, {"pairs": 7})
            storage, content = remote_storage(elsewhere.remote), json.dumps(record).encode()
            assert put_folder(storage, other, KEY.place, record["files"], content)
            return fill(folder)

        assert store.publish(KEY, build).counts == {"pairs": 7}
        assert (store.fetch(KEY) / "table").read_text() == "9876543210"

    @pytest.mark.parametrize("damage", ["cut", "removed", "changed"])
    def test_a_damaged_object_is_found_out_when_it_is_fetched(
        self, store, elsewhere, damage
    ) -> None:
        store.publish(KEY, fill)
        storage = remote_storage(store.remote)
        (table,) = (name for name in storage.names(KEY.place) if name.endswith("/table"))
        if damage == "removed":
            storage.remove([table])
        else:
            storage.write(table, b"01" if damage == "cut" else b"0123456780")
        with pytest.raises(ArtifactDamaged) as caught:
            elsewhere.fetch(KEY)
        where = f"{elsewhere.remote}/{KEY.place}"
        sizes = {"cut": "has 2 bytes", "removed": "is missing"}
        found = f"{sizes.get(damage)}, its record says 10"
        if damage == "changed":
            found = "its content is not what was written"
        assert str(caught.value) == (
            f"{where}/table: {found}; remove the folder {where} and its copy "
            f"{elsewhere.path(KEY)} and run again"
        )
        assert files(elsewhere.root) == []

    @pytest.mark.slow
    def test_a_record_of_something_else_is_found_out(self, store, elsewhere) -> None:
        wait(forked(lambda: store.publish(KEY, fill)))
        storage, name = remote_storage(store.remote), f"{KEY.place}/record.json"
        storage.write(name, storage.read(name).replace(b'"seed": 1', b'"seed": 2'))
        with pytest.raises(ArtifactDamaged, match=r"fingerprint in recipe\.seed: 2 -> 1; remove"):
            elsewhere.find(KEY)

    def test_it_works_without_what_was_fetched(self, store) -> None:
        store.publish(KEY, fill)
        shutil.rmtree(store.root)
        assert store.find(KEY) is not None
        assert files(store.fetch(KEY)) == ["inner/part", "record.json", "table"]

    @pytest.mark.slow
    def test_unfinished_work_goes_on_elsewhere(self, store, elsewhere) -> None:
        here, there = store.mirror(KEY), elsewhere.mirror(KEY)
        assert shown(pulled(there)) == {}
        write(here, {"history": "1", "checkpoints/01/a": "x" * 10, "checkpoints/01/state": "1"})
        here.push()
        write(here, {"history": "12", "checkpoints/02/a": "y" * 10, ".aside": "half"})
        shutil.rmtree(here.folder / "checkpoints" / "01")
        here.push()
        before = remote_storage(store.remote).names("work")
        here.push()
        assert len(remote_storage(store.remote).names("work")) == len(before) == 3
        write(here, {"history": "123 never kept"})
        for mirror in (there, here):
            kept = shown(pulled(mirror))
            assert kept == {"history": "12", "checkpoints/02/a": "y" * 10}
            assert mirror.read("history") == b"12"
        write(there, {"history": "124"})
        there.push()
        with pytest.raises(LeaseLost, match="another process goes on with this training"):
            here.push()
        assert shown(pulled(here))["history"] == "124"
        store.publish(KEY, fill)
        assert remote_storage(store.remote).names("work") == []

    @pytest.mark.slow
    def test_keeping_that_is_killed_anywhere_keeps_the_old_or_the_new(self, store, elsewhere):
        here = store.mirror(KEY)
        for step in itertools.count():
            old, new = {"a": f"old {step}", "b": "same"}, {"a": f"new {step}", "c": "more"}
            for name in ("a", "b", "c"):
                (pulled(here) / name).unlink(missing_ok=True)
            write(here, old)
            here.push()
            (here.folder / "b").unlink()
            write(here, new)
            killed = self.killed_before(step, here.push)
            kept = shown(pulled(elsewhere.mirror(KEY)))
            assert kept in ([old, new] if killed else [new])
            if not killed:
                break
        assert step > 3, "it was killed in the middle of its work"

    def test_finished_parts_are_brought_and_torn_ones_are_not(self, store, elsewhere) -> None:
        here = store.parts(KEY, store.work_path(KEY) / "shards")
        there = elsewhere.parts(KEY, elsewhere.work_path(KEY) / "shards")
        for name in ("000000", "000001"):
            part = here.folder / name
            part.mkdir(parents=True)
            fill(part)
            (part / RECORD).write_text(name)
            here.keep(part)
        (here.folder / "plan.json").write_text("[1]")
        here.keep_file("plan.json")
        (here.folder / "plan.json").write_text("[2]")
        here.keep_file("plan.json")
        storage = remote_storage(store.remote)
        storage.remove([name for name in storage.names("work") if "/000001/" in name][:1])
        there.bring()
        there.bring_file("plan.json")
        assert (there.folder / "plan.json").read_text() == "[1]"
        assert files(there.folder) == [
            *("000000/inner/part", "000000/record.json", "000000/table", "plan.json")
        ]


def write(mirror: Mirror, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (mirror.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror.folder / name).write_text(text)


def pulled(mirror: Mirror) -> Path:
    mirror.pull()
    return mirror.folder


def shown(folder: Path) -> dict[str, str]:
    """All files but hidden ones."""
    names = (name for name in files(folder) if not Path(name).name.startswith("."))
    return {name: (folder / name).read_text() for name in names}


class OldClock:
    """A clock of 1999."""

    @staticmethod
    def now(zone: object) -> "OldClock":
        return OldClock()

    def isoformat(self, timespec: str) -> str:
        return "1999-12-31T23:59:59+00:00"


def publish_and_be_killed(store: Store) -> None:
    def build(folder: Path) -> dict[str, int]:
        fill(folder)
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    assert wait(forked(lambda: store.publish(KEY, build))) == [-signal.SIGKILL]


def opened(location: str, cache: Path) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return Store.open(location)


def files(folder: Path) -> list[str]:
    """What is in a folder, but for the id by which a storage of objects knows it."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.stem != ".id")
    return sorted(path.relative_to(folder).as_posix() for path in found)


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def assert_whole(folder: Path) -> None:
    """It holds what `fill` writes and a record, and nothing else."""
    record = json.loads((folder / RECORD).read_text())
    assert record["files"].keys() == {"inner/part", "table"}
    assert files(folder) == ["inner/part", RECORD, "table"]
    assert (folder / "inner" / "part").read_text() == "abc"
    assert (folder / "table").read_text() == "0123456789"


def killed_before(step: int, work: Callable[[], object]) -> bool:
    """Do work in a process that is killed before it touches files for the `step`th time.

    -> whether it came to that; if not, the work is done.
    """
    left = step

    def count(event: str, _: object) -> None:
        nonlocal left
        if event == "open" or event.startswith(("os.", "shutil.")):
            left -= 1
            if left == -1:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.addaudithook(count)
        work()

    (status,) = wait(forked(watched))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def at_once(*works: Callable[[], object]) -> None:
    """Do all of it in processes that begin together."""
    reading, writing = os.pipe()

    def released(work: Callable[[], object]) -> Callable[[], object]:
        def begin() -> None:
            os.read(reading, 1)
            work()

        return begin

    children = [forked(released(work)) for work in works]
    os.write(writing, b"." * len(works))
    assert wait(*children) == [0] * len(works)
    os.close(reading)
    os.close(writing)


def forked(work: Callable[[], object]) -> int:
    child = os.fork()
    return child or _run(work)


def _run(work: Callable[[], object]) -> NoReturn:
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def wait(*children: int) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def until(condition: Callable[[], object]) -> None:
    """Wait for something to be so, half a minute at most."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
