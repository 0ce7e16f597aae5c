"""A study that is stopped at every stage ends with the scores of one left alone."""

import contextlib
import os
import signal
import subprocess
import time
from functools import partial

import psutil
import pytest
from micro_study import CONFIG, command, run, scores
from mlflow import MlflowClient

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

STOPPED = "stopped; the same command continues from here\n"
SECONDS = 240  # until a stage must have begun
# What stands in the storage folder once a stage is under way, in the order of the stages.
# The shards of distributions are made and found as those of translations are.
UNDER_WAY = {
    "teacher": "work/model/*/checkpoints/00000050",
    "translations": "work/hypotheses/*/shards/*/record.json",
    "students": "work/model/*/checkpoints/00000010",
    "scores": "scores/*/record.json",
}


def stop_when(under_way, config, storage, stop):
    """Start the study and stop it as soon as it is that far. -> its exit code, and its errors."""
    errors = config.with_suffix(".err")
    with errors.open("w") as file:
        driver = subprocess.Popen(
            command("study", config, storage),
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    ends = time.monotonic() + SECONDS
    while driver.poll() is None and not under_way(driver.pid):
        assert time.monotonic() < ends, "the study did not get there"
        time.sleep(0.02)
    stop(driver.pid)
    return driver.wait(), errors.read_text()


def made(storage, pattern, _):
    """Whether a file of the pattern stands in the storage folder."""
    return bool(list(storage.glob(pattern)))


def trains(driver):
    """Whether a worker of this driver's own Ray trains; those of a killed one may live on a bit."""
    return any("RayTrainWorker" in " ".join(line) for line in command_lines(driver))


def command_lines(driver):
    """Of all processes below it."""
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            yield process.cmdline()


def kill(driver):
    """As a machine that fails."""
    os.kill(driver, signal.SIGKILL)


def interrupt(driver):
    """Ctrl-C, which a terminal sends to all processes in front."""
    with nothing_lives_on(driver):
        os.killpg(driver, signal.SIGINT)


def terminate(driver):
    """As `ray job stop` and batch systems do."""
    with nothing_lives_on(driver):
        os.kill(driver, signal.SIGTERM)


@contextlib.contextmanager
def nothing_lives_on(driver):
    """No process below it."""
    below = psutil.Process(driver).children(recursive=True)
    yield
    _, alive = psutil.wait_procs(below, timeout=60)
    assert below
    assert not alive


def statuses(storage):
    """Of the runs in MLflow."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("micro")
    return {run.info.status for run in client.search_runs([experiment.experiment_id])}


def test_a_study_killed_at_every_stage_ends_as_one_left_alone(tmp_path, request):
    config = tmp_path / "micro.yaml"
    config.write_text(CONFIG)
    killed = tmp_path / "killed"
    killed.mkdir()
    for stage, pattern in UNDER_WAY.items():
        began = partial(made, killed, pattern)
        assert stop_when(began, config, killed, kill)[0] == -signal.SIGKILL, stage
        assert not (killed / "reports" / "micro" / "results.json").exists()
        if stage == "teacher":
            assert stop_when(trains, config, killed, interrupt) == (130, STOPPED)
            assert stop_when(trains, config, killed, terminate) == (143, STOPPED)
            assert statuses(killed) == {"KILLED"}
    finished = run("study", config, killed)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    undisturbed = request.getfixturevalue("undisturbed")  # by now another process has it ready
    assert scores(killed) == scores(undisturbed)
    assert not list((killed / "work").glob("*/*/checkpoints")), "what is published leaves no work"
