"""Dry runs, reports and gates write nothing into the storage, and work where nothing can be."""

import json
import shutil
import subprocess
import sys

import pytest
from micro_study import CONFIG
from mounts import READ_ONLY, SMALL, run_mounted

LOOK = """
import json
import sys
from pathlib import Path

from kdray.__main__ import app
from kdray.command import exit_codes

storage, config, *commands = sys.argv[1:]
CHANGES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # of the flags of open
LOOKS = ("os.listdir", "os.scandir", "os.walk")

def watch(event, arguments):
    if event == "open":
        places = arguments[:1] if arguments[2] & CHANGES else ()
    else:
        is_change = event.startswith(("os.", "shutil.")) and event not in LOOKS
        places = arguments if is_change else ()
    for place in places:
        if isinstance(place, str | Path) and str(place).startswith(storage):
            print("WROTE", event, place, flush=True)

sys.addaudithook(watch)
for command in commands:
    verb, *options = json.loads(command)
    code = 0
    try:
        with exit_codes():
            app([verb, config, f"--set=execution.storage={storage}", *options])
    except SystemExit as ended:
        code = ended.code
    print("ENDED", verb, *options, code or 0, flush=True)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "micro.yaml"
    path.write_text(CONFIG)
    return path


def plainly(*arguments):
    """Run where everything may be written."""
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=200, check=False)


def read_only(folder):
    """Run where nothing may be written below a folder."""
    return lambda *arguments: run_mounted(READ_ONLY, folder, *arguments)


def look(run, config, storage, *commands):
    """Run commands in one process. -> the exit code of each, and all that they said."""
    done = run("-c", LOOK, storage, config, *map(json.dumps, commands))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    ended = [line for line in done.stdout.splitlines() if line.startswith("ENDED")]
    return [int(line.split()[-1]) for line in ended], " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
@pytest.mark.parametrize("disk_is", ["writable", "read-only"])
@pytest.mark.parametrize("exists", [True, pytest.param(False, marks=pytest.mark.long)])
def test_nothing_is_written_where_nothing_is(config, tmp_path, exists, disk_is):
    storage = tmp_path / "disk" / "runs"
    (storage if exists else storage.parent).mkdir(parents=True)
    run = plainly if disk_is == "writable" else read_only(tmp_path / "disk")
    codes, said = look(
        run, config, storage, ["study", "--dry-run"], ["tune", "--dry-run", "--verify"],
        ["report", "--dry-run"], ["report"], ["gate", "nano/hybrid/seed-1"],
    )  # fmt: skip
    assert codes == [0, 0, 0, 1 if exists else 2, 2]
    assert "WROTE" not in said
    assert ("no model of micro is scored" if exists else "there is no such folder") in said
    assert "not trained yet" in said
    assert list((tmp_path / "disk").rglob("*")) == ([storage] if exists else [])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("disk_is", ["writable", "read-only"])
def test_a_finished_study_is_looked_at_and_only_its_report_is_written(
    config, tmp_path, undisturbed, disk_is
):
    storage, pages = tmp_path / "disk" / "runs", tmp_path / "pages"
    shutil.copytree(undisturbed, storage)
    shutil.rmtree(storage / "reports")
    before = sorted(storage.rglob("*"))
    run = plainly if disk_is == "writable" else read_only(tmp_path / "disk")
    codes, said = look(
        run, config, storage, ["study", "--dry-run", "--verify"], ["gate", "nano/hybrid/seed-1"],
        ["report", "--into", str(pages)],
    )  # fmt: skip
    assert codes == [0, 0, 0], said
    assert "WROTE" not in said
    assert "would run" not in said
    assert sorted(storage.rglob("*")) == before
    assert (pages / "report.html").exists()
    codes, said = look(run, config, storage, ["report"])
    assert codes == [0]
    assert "hybrid" in said
    written = {path for path in storage.rglob("*") if path not in before}
    assert all(path.is_relative_to(storage / "reports") for path in written)
    assert bool(written) == (disk_is == "writable")
    if disk_is == "read-only":
        assert "no page is written: " in said
        assert "Read-only file system" in said
        assert "name another folder with --into" in said


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param("16k", marks=pytest.mark.long), "200k"])
def test_a_disk_that_is_full_in_the_first_stages_is_one_message(config, tmp_path, size):
    storage = tmp_path / "disk"
    storage.mkdir()
    grow = "recipe.corpus.train_pairs=20000"
    sets = (f"execution.storage={storage}", "execution.tracking.enabled=false", grow)
    command = ["-m", "kdray.train", config, *(f"--set={each}" for each in sets)]
    done = run_mounted(SMALL, storage, *command, size=size)
    assert done.returncode == 1, done.stdout + done.stderr
    words = " ".join(done.stderr.split())
    assert "Traceback" not in words
    assert "No space left on device" in words
    assert "make room, and run the same command again" in words
