"""A search whose trials or whose driver die tries the same values, and has one run for each."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from micro_study import CONFIG, command, copied, run
from mlflow import MlflowClient

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

OVERRIDES = (
    "execution.parallel_students=1", "search.trials=3", "search.stopping=none",
    "search.retrain=null",
)  # fmt: skip


@pytest.fixture
def search(undisturbed, tmp_path):
    """Prepare a search over signals that are made. -> its configuration and its storage."""

    def prepare(name):
        config, storage = tmp_path / f"{name}.yaml", tmp_path / name
        config.write_text(CONFIG)
        copied(undisturbed, storage)
        return config, storage

    return prepare


def trials(storage):
    """The trials in the order of their ranks, and the runs in MLflow that follow them."""
    results = json.loads((storage / "reports" / "micro" / "search.json").read_text())["trials"]
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("micro").experiment_id
    runs = client.search_runs([experiment], "tags.`kdray.role` = 'trial'")
    return results, runs


def weights(storage, results):
    """The checksum of each trial's weights: scores may be equal where those are not."""
    students = [storage / "model" / trial["fingerprint"] for trial in results]
    records = [json.loads((student / "record.json").read_text()) for student in students]
    return [record["files"]["weights.safetensors"]["sha256"] for record in records]


def kill_a_trial(driver):
    """End the process that trains; if one trial has just ended, that of the next one."""
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(driver).status() != psutil.STATUS_ZOMBIE:
            for process in psutil.Process(driver).children(recursive=True):
                with suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    if line.startswith("ray::") and "train" in line:
                        process.kill()
                        return
            time.sleep(0.05)
    pytest.fail("no trial was going on any more")


def kill_the_driver(driver):
    """As a machine that fails."""
    os.kill(driver, signal.SIGKILL)


def stopped(config, storage, stop):
    """Start the search, and stop something of it when a trial has a checkpoint. -> exit code."""
    driver = subprocess.Popen(
        command("tune", config, storage, *OVERRIDES),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ends = time.monotonic() + 300
    while not list((storage / "work").glob("model/*/checkpoints/00000010")):
        assert driver.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.01)
    stop(driver.pid)
    return driver.wait(timeout=400)


def test_a_trial_or_a_driver_that_dies_changes_nothing(search):
    alone = search("alone")
    done = run("tune", *alone, *OVERRIDES)
    assert done.returncode == 0, done.stdout + done.stderr
    undisturbed, _ = trials(alone[1])
    assert len(undisturbed) == 3

    with_death = search("with-death")
    assert stopped(*with_death, kill_a_trial) == 0
    assert trials(with_death[1])[0] == undisturbed
    assert weights(with_death[1], undisturbed) == weights(alone[1], undisturbed)

    repeated = search("repeated")
    assert stopped(*repeated, kill_the_driver) == -signal.SIGKILL
    done = run("tune", *repeated, *OVERRIDES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials(repeated[1])[0] == undisturbed
    assert weights(repeated[1], undisturbed) == weights(alone[1], undisturbed)

    for _, storage in (alone, with_death, repeated):
        _, runs = trials(storage)
        assert [each.info.status for each in runs] == ["FINISHED"] * 3
        assert len({each.data.tags["kdray.fingerprint"] for each in runs}) == 3
