"""A study that is killed with SIGKILL at every stage ends with the scores of one left alone."""

import os
import signal
import subprocess
import time

import pytest
from micro_study import CONFIG, command, run, scores

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 240  # until a stage must have begun
# What stands in the storage folder once a stage is under way, in the order of the stages.
UNDER_WAY = {
    "teacher": "work/model/*/checkpoints/00000050",
    "translations": "work/hypotheses/*/shards/*/record.json",
    "distributions": "work/distributions/*/shards/*/record.json",
    "students": "work/model/*/checkpoints/00000010",
    "scores": "scores/*/record.json",
}


def kill_when(pattern, config, storage):
    """Start the study and kill its driver as soon as a file matches. -> its exit code."""
    driver = subprocess.Popen(
        command("study", config, storage),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ends = time.monotonic() + SECONDS
    while driver.poll() is None and not list(storage.glob(pattern)):
        assert time.monotonic() < ends, f"{pattern} did not appear"
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    return driver.wait()


def test_a_study_killed_at_every_stage_ends_as_one_left_alone(tmp_path, request):
    config = tmp_path / "micro.yaml"
    config.write_text(CONFIG)
    killed = tmp_path / "killed"
    killed.mkdir()
    for stage, pattern in UNDER_WAY.items():
        assert kill_when(pattern, config, killed) == -signal.SIGKILL, stage
        assert not (killed / "reports" / "micro" / "results.json").exists()
    finished = run("study", config, killed)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    undisturbed = request.getfixturevalue("undisturbed")  # by now another process has it ready
    assert scores(killed) == scores(undisturbed)
    assert not list((killed / "work").glob("*/*/checkpoints")), "what is published leaves no work"
