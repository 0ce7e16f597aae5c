"""Dry runs, reports and gates write nothing into the storage, and work where nothing can be."""

import shutil

import pytest
from micro_study import CONFIG
from mounts import READ_ONLY, SMALL, run_mounted

LOOK = """
import sys
from pathlib import Path
from kdray.command import exit_codes

storage, verb, *arguments = sys.argv[1:]
WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000

def watch(event, arguments):
    if event.startswith(("os.", "shutil.")) and event not in ("os.listdir", "os.scandir", "os.walk"):
        places = arguments
    elif event == "open" and arguments[2] & WRITING:
        places = arguments[:1]
    else:
        return
    for place in places:
        if isinstance(place, str | Path) and str(place).startswith(storage):
            print("WROTE", event, place, flush=True)

sys.addaudithook(watch)
from kdray.__main__ import app
with exit_codes():
    app([verb, *arguments], standalone_mode=False)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "micro.yaml"
    path.write_text(CONFIG)
    return path


def look(run, config, storage, verb, *arguments):
    return run("-c", LOOK, storage, verb, config, f"--set=execution.storage={storage}", *arguments)


def plainly(folder):
    """Run where everything may be written."""
    import subprocess
    import sys

    def run(*arguments):
        line = [sys.executable, *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, timeout=200, check=False)

    return run


def read_only(folder):
    return lambda *arguments: run_mounted(READ_ONLY, folder, *arguments)


LOOKS = [("study", "--dry-run"), ("tune", "--dry-run"), ("report",), ("report", "--dry-run"),
         ("study", "--dry-run", "--verify"), ("gate", "nano/hybrid/seed-1")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("where", [plainly, read_only])
def test_nothing_is_written_where_nothing_is(config, tmp_path, command, exists, where):
    storage = tmp_path / "disk" / "runs"
    (storage if exists else storage.parent).mkdir(parents=True)
    verb, *options = command
    done = look(where(tmp_path / "disk"), config, storage, verb, *options)
    assert "WROTE" not in done.stdout
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if "--dry-run" in command else {"report": 1, "gate": 2}[verb])
    assert storage.exists() == exists
    assert not list((tmp_path / "disk").rglob("runs/*"))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("where", [plainly, read_only])
def test_a_finished_study_is_looked_at_and_nothing_else_is_written(
    config, tmp_path, undisturbed, where
):
    storage = tmp_path / "disk" / "runs"
    shutil.copytree(undisturbed, storage)
    shutil.rmtree(storage / "reports")
    run, before = where(tmp_path / "disk"), sorted(storage.rglob("*"))
    for command in (("study", "--dry-run"), ("gate", "nano/hybrid/seed-1"),
                    ("report", "--into", tmp_path / "pages")):  # fmt: skip
        done = look(run, config, storage, *command)
        assert done.returncode == 0, done.stderr
        assert "WROTE" not in done.stdout
        assert sorted(storage.rglob("*")) == before
    assert (tmp_path / "pages" / "report.html").exists()
    done = look(run, config, storage, "report")
    assert done.returncode == 0, done.stderr
    assert "hybrid" in done.stdout
    if where is read_only:
        words = " ".join(done.stdout.split())
        assert "no page is written: " in words
        assert "Read-only file system" in words
        assert "name another folder with --into" in words
    written = {path for path in storage.rglob("*") if path not in before}
    assert all(path.is_relative_to(storage / "reports") for path in written)
    assert bool(written) == (where is plainly)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["16k", "64k", "200k"])
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
