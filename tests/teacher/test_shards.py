"""Shards are whole or missing, and a plan outlives the run that made it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_events import assert_on_disk_before_it_was_there, disk_events, largest_file
from mounts import SMALL, run_mounted

from kdray.errors import ArtifactDamaged, StageFailed
from kdray.teacher.shards import RECORD, ShardPlan


@pytest.fixture
def plan(tmp_path: Path) -> ShardPlan:
    return ShardPlan.open(tmp_path / "work" / "shards", rows=10, shard_rows=4)


def build(start: int, stop: int, folder: Path) -> dict[str, int]:
    (folder / "rows").write_text(f"{start} {stop}")
    return {"pairs": stop - start}


def test_ranges_cover_all_rows_once(plan: ShardPlan) -> None:
    assert plan.ranges == ((0, 4), (4, 8), (8, 10))
    assert plan.missing() == [0, 1, 2]
    assert plan.finished() == plan.counts() == []


def test_a_later_run_keeps_the_ranges_and_what_is_finished(plan: ShardPlan) -> None:
    plan.make(1, build)
    again = ShardPlan.open(plan.folder, rows=10, shard_rows=3)
    assert again == plan
    assert again.missing() == [0, 2]
    again.make(2, build)
    again.make(0, build)
    assert again.missing() == []
    assert [(shard / "rows").read_text() for shard in again.finished()] == ["0 4", "4 8", "8 10"]
    assert again.counts() == [{"pairs": 4}, {"pairs": 4}, {"pairs": 2}]


def test_a_record_says_which_rows(plan: ShardPlan) -> None:
    plan.make(2, build)
    (shard,) = plan.finished()
    record = json.loads((shard / RECORD).read_text())
    assert record.keys() == {"start", "stop", "counts", "files", "sha256"}
    assert (record["start"], record["stop"], record["counts"]) == (8, 10, {"pairs": 2})
    assert record["files"].keys() == {"rows"}


def test_data_is_on_the_disk_before_a_shard_counts_as_finished(plan: ShardPlan) -> None:
    with disk_events() as events:
        plan.make(1, build)
    assert_on_disk_before_it_was_there(events, plan.finished()[0], RECORD)


def test_a_shard_that_fails_is_missing_and_leaves_nothing(plan: ShardPlan) -> None:
    def fail(start: int, stop: int, folder: Path) -> dict[str, int]:
        build(start, stop, folder)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        plan.make(0, fail)
    assert plan.missing() == [0, 1, 2]
    assert [path.name for path in plan.folder.iterdir()] == ["plan.json"]


def test_another_actor_may_be_as_fast(plan: ShardPlan) -> None:
    def build_slowly(start: int, stop: int, folder: Path) -> dict[str, int]:
        plan.make(0, build)
        return {**build(start, stop, folder), "pairs": 0}

    plan.make(0, build_slowly)
    assert plan.counts() == [{"pairs": 4}]
    assert sorted(path.name for path in plan.folder.iterdir()) == ["000000", "plan.json"]


def test_a_shard_without_its_record_is_made_anew(plan: ShardPlan) -> None:
    for index in range(3):
        plan.make(index, build)
    (plan.path(1) / RECORD).unlink()
    assert plan.missing() == [1]
    plan.make(1, build)
    assert plan.missing() == []
    assert (plan.path(1) / "rows").read_text() == "4 8"


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": lambda shard: flipped(shard / "rows"),
    "a file that is gone": lambda shard: (shard / "rows").unlink(),
    "a file that was put there": lambda shard: (shard / "more").write_text("x"),
    "a record that was changed": lambda shard: (shard / RECORD).write_text(
        (shard / RECORD).read_text().replace('"pairs": 4', '"pairs": 5')
    ),
    "a record without checksums": lambda shard: (shard / RECORD).write_text('{"counts": {}}'),
    "no record": lambda shard: (shard / RECORD).write_text("{"),
    "a record of no form": lambda shard: (shard / RECORD).write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_shard_that_was_damaged_is_made_anew(plan: ShardPlan, damage: Callable) -> None:
    for index in plan.missing():
        plan.make(index, build)
    assert plan.drop_damaged() == []
    plan.prove()
    damage(plan.path(1))
    with pytest.raises(StageFailed, match=r"shards/000001.* run the same command again"):
        plan.prove()
    assert plan.missing() == [1]
    plan.make(1, build)
    assert plan.drop_damaged() == plan.missing() == []
    assert plan.counts() == [{"pairs": 4}, {"pairs": 4}, {"pairs": 2}]


@pytest.mark.parametrize("name", ["plan.json", "000001/record.json"])
def test_a_file_that_is_no_json_is_one_message(plan: ShardPlan, name: str) -> None:
    plan.make(1, build)
    (plan.folder / name).write_text("{")
    with pytest.raises(ArtifactDamaged, match=rf"{name}: cannot be read .*; remove .* and run"):
        ShardPlan.open(plan.folder, rows=10, shard_rows=4).counts()


def test_a_full_disk_is_one_message(plan: ShardPlan) -> None:
    def fill(start: int, stop: int, folder: Path) -> dict[str, int]:
        with largest_file(10):
            (folder / "rows").write_text("x" * 100)
        return {}

    with pytest.raises(StageFailed, match=r"shards/000000: could not be made \(.*MiB are free"):
        plan.make(0, fill)
    assert plan.missing() == [0, 1, 2]


ARRAY = """
import sys
from pathlib import Path
from kdray.teacher.stored import new_array
try:
    new_array(Path(sys.argv[1]) / "a.npy", dtype="float32", shape=(1000, 1000))[:] = 1
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "said"), [("1m", "No space left on device\n"), ("8m", "")])
def test_an_array_has_its_room_before_it_is_filled(tmp_path: Path, size: str, said: str) -> None:
    """A page that finds no room ends the process by SIGBUS."""
    done = run_mounted(SMALL, tmp_path, "-c", ARRAY, tmp_path, size=size)
    assert (done.returncode, done.stdout) == (0, said), done.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from kdray.teacher.shards import ShardPlan

def build(start, stop, folder):
    (folder / "rows").write_text(f"{start} {stop}")
    os.kill(os.getpid(), signal.SIGKILL)

ShardPlan.open(Path(sys.argv[1]), rows=10, shard_rows=4).make(1, build)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_between_data_and_record_has_made_nothing(plan: ShardPlan) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(plan.folder)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert plan.missing() == [0, 1, 2]
    for index in plan.missing():
        plan.make(index, build)
    assert [(shard / "rows").read_text() for shard in plan.finished()] == ["0 4", "4 8", "8 10"]


def test_after_a_full_disk_the_same_plan_is_made_to_its_end(plan: ShardPlan) -> None:
    def fill(start: int, stop: int, folder: Path) -> dict[str, int]:
        with largest_file(3):
            return build(start, stop, folder)

    plan.make(0, fill)
    with pytest.raises(StageFailed, match="raise the limit"):
        plan.make(2, lambda *args: fill(10**6, 10**6, args[2]))
    for index in plan.missing():
        plan.make(index, build)
    assert [(shard / "rows").read_text() for shard in plan.finished()] == ["0 4", "4 8", "8 10"]
