"""`ray job submit`: the study as a job of a cluster that was started by hand, with its token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from micro_study import CONFIG, scores

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

RAY = Path(sys.executable).with_name("ray")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    """A head node on loopback. -> the address of its jobs, and the environment that reaches it."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    port, jobs = free_port(), free_port()
    node = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={port}",
         "--dashboard-host=127.0.0.1", f"--dashboard-port={jobs}", "--node-ip-address=127.0.0.1",
         f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ends = time.monotonic() + 90
    while time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", jobs)) == 0:
                break
        assert node.poll() is None, "the head node ended"
        time.sleep(0.5)
    yield f"http://127.0.0.1:{jobs}", env
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def test_a_study_runs_as_a_submitted_job(cluster, tmp_path, undisturbed):
    """It finds text and teacher where another study left them; signal and student are its own."""
    address, env = cluster
    work, storage = tmp_path / "work", tmp_path / "storage"
    work.mkdir()
    (work / "micro.yaml").write_text(CONFIG)
    for kind in ("corpus", "tokenizer", "encoded", "model", "scores"):
        shutil.copytree(undisturbed / kind, storage / kind)
    done = subprocess.run(
        [RAY, "job", "submit", "--address", address, "--working-dir", str(work), "--",
         sys.executable, "-m", "kdray.study", "micro.yaml",
         f"--set=execution.storage={storage}", "--set=search=null", "--set=recipe.signals.topk.k=3",
         "--set=recipe.methods={soft: {kind: token_level, signal: topk}}"],
        env=env, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "succeeded" in done.stdout
    assert {row["method"] for row in scores(storage)} == {"teacher", "soft"}
