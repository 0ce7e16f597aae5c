"""A study on the S3 protocol: killed, gone on with on another machine, and left by its network."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from micro_study import CONFIG, command
from s3_server import BUCKET, SECRET, S3Server, s3_server

from kdray.artifacts import RECORD, WORK
from kdray.model.storage import WEIGHTS

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(6000)]

SECONDS = 1500  # until the study must be so far, on a busy machine
UNTRACKED = "execution.tracking.enabled=false"
STORAGE = f"s3://{BUCKET}/study"


@pytest.fixture
def server():
    with s3_server() as server:
        yield server


@pytest.fixture
def study(server: S3Server, tmp_path):
    """Starts the study, each time on a machine that has nothing but its name."""
    config = tmp_path / "micro.yaml"
    config.write_text(CONFIG)

    def start(machine: str, *overrides: str) -> tuple[subprocess.Popen, list]:
        shown = tmp_path / f"{machine}.txt"
        with shown.open("w") as file:
            driver = subprocess.Popen(
                command("study", config, STORAGE, *overrides),
                env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / machine)},
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return driver, shown

    return start


def until(driver: subprocess.Popen, shown, server: S3Server, pattern: str) -> None:
    """Wait until an object of the pattern is in the bucket."""
    ends = time.monotonic() + SECONDS
    while not any(re.search(pattern, name) for name in server.names()):
        assert driver.poll() is None, f"it ended before it got there: {shown.read_text()}"
        assert time.monotonic() < ends, "the study did not get there"
        time.sleep(0.1)


def records(server: S3Server) -> dict[str, dict]:
    names = [name for name in server.names() if name.endswith(f"/{RECORD}")]
    found = [json.loads(server.content(name)) for name in names if WORK not in name.split("/")]
    return {record["fingerprint"]: record for record in found}


def test_a_study_that_loses_its_machine_and_its_network_ends_as_one_left_alone(
    server, study, tmp_path, request
):
    driver, shown = study("first", UNTRACKED)
    until(driver, shown, server, r"work/model/[^/]+/kept/0000000[2-4]\.json")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = server.names(f"study/{WORK}/model")

    driver, shown = study("second", UNTRACKED)
    until(driver, shown, server, r"work/hypotheses/[^/]+/parts/000000/record\.json")
    assert before, "the teacher's checkpoints were there for the second machine"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()

    driver, shown = study("third")
    until(driver, shown, server, r"work/model/[^/]+/kept/\d+\.json")
    server.stop()
    code = driver.wait(timeout=SECONDS)
    server.start()
    said = shown.read_text()
    assert code in (1, 2), said
    assert said.count("error:") == 1, said
    assert "Traceback" not in said
    assert f"execution.storage {STORAGE}: does not answer as it should" in " ".join(said.split())

    driver, shown = study("third")
    assert driver.wait(timeout=2 * SECONDS) == 0, shown.read_text()
    undisturbed = request.getfixturevalue("undisturbed")
    ours = records(server)
    local = {path.parent.name: path for path in undisturbed.glob(f"*/*/{RECORD}")}
    assert local.keys() <= ours.keys()
    models = [name for name in ours if WEIGHTS in ours[name]["files"]]
    assert len(models) == 3, "the teacher and two students"
    for name in models:
        mine = json.loads(local[name].read_text())["files"][WEIGHTS]
        assert ours[name]["files"][WEIGHTS] == mine, "the same weights, bit for bit"
    left = [name for name in server.names() if re.search(f"/({WORK}|leases|probe)/", name)]
    assert [name for name in left if WORK in name.split("/")] == [], (
        "what is published leaves no work"
    )
    assert any(name.endswith("reports/micro/report.html") for name in server.names())
    caches = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in caches if SECRET.encode() in path.read_bytes()]
    assert not [name for name in server.names() if SECRET.encode() in server.content(name)]
