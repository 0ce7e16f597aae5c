"""Nodes that share a bucket and no folder: one is lost in mid-training, and another goes on."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG, command
from s3_server import BUCKET, S3Server, s3_server

from kdray.artifacts import RECORD, WORK
from kdray.fit.history import HISTORY, rows_in
from kdray.model.storage import WEIGHTS

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(6000)]

RAY = Path(sys.executable).with_name("ray")
OWN = 'mount -t tmpfs tmpfs "$CACHE" && exec "$@"'  # a cache that no other node sees
SECONDS = 1500
CHECKPOINTS = (
    "recipe.teacher.training.updates=60",
    "recipe.teacher.training.checkpoint_every=10",
    "recipe.teacher.training.validate_every=30",
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def server():
    with s3_server() as server:
        yield server


@pytest.fixture
def nodes(tmp_path, server, monkeypatch):
    """Starts nodes of a cluster whose head has no CPUs. -> what starts one more."""
    token, cache = tmp_path / "token", tmp_path / "cache"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    cache.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", OWN, "sh"]
    env = {**os.environ, "CACHE": str(cache)}
    if subprocess.run([*unshare, "true"], env=env, check=False).returncode:
        pytest.skip("this user may not mount")
    port, started = free_port(), ExitStack()

    def start(*options: str, within: tuple[str, ...] = ()) -> subprocess.Popen:
        line = [*within, RAY, "start", "--block", "--disable-usage-stats", *options]
        node = subprocess.Popen(
            line, env=env, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        started.callback(kill, node)
        return node

    start(
        "--head", "--num-cpus=0", f"--port={port}", "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
    )  # fmt: skip
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with started:
        yield lambda: start(
            f"--address=127.0.0.1:{port}", "--num-cpus=2", "--node-ip-address=127.0.0.1",
            within=tuple(unshare),
        )  # fmt: skip


JOINED = """
import ray, time
ray.init(logging_level=40)
while ray.cluster_resources().get("CPU", 0) < 2:
    time.sleep(0.2)
"""


def kill(node: subprocess.Popen) -> None:
    """A machine that is lost: all its processes at once."""
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def until(driver: subprocess.Popen, shown: Path, server: S3Server, pattern: str) -> None:
    ends = time.monotonic() + SECONDS
    while not any(re.search(pattern, name) for name in server.names()):
        assert driver.poll() is None, shown.read_text()
        assert time.monotonic() < ends, shown.read_text()
        time.sleep(0.1)


def test_a_training_goes_on_on_another_node_and_shards_come_from_it(server, nodes, tmp_path):
    first = nodes()
    subprocess.run([sys.executable, "-c", JOINED], check=True, timeout=SECONDS)
    config, shown = tmp_path / "micro.yaml", tmp_path / "shown.txt"
    raw = yaml.safe_load(CONFIG)
    raw["execution"] |= {"connect_seconds": 300, "train_workers": 1, "tracking": {"enabled": False}}
    config.write_text(yaml.safe_dump(raw))
    with shown.open("w") as file:
        driver = subprocess.Popen(
            command("decode", config, f"s3://{BUCKET}/x", *CHECKPOINTS),
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(driver, shown, server, r"work/model/[^/]+/kept/0000000[23]\.json")
        kill(first)
        second = nodes()
        assert driver.wait(timeout=2 * SECONDS) == 0, shown.read_text()
        kill(second)
    finally:
        driver.kill()
    names = server.names()
    assert not [name for name in names if WORK in name.split("/")]
    records = [name for name in names if re.search(rf"x/model/[^/]+/{RECORD}$", name)]
    (model,) = (name.removesuffix(f"/{RECORD}") for name in records)
    record = json.loads(server.content(f"{model}/{RECORD}"))
    history = server.content(f"{model}/{record['files'][HISTORY]['sha256']}/{HISTORY}").decode()
    steps = [row["step"] for row in rows_in(history) if "train/loss" in row]
    assert steps == sorted(set(steps)), "no update was made twice"
    assert steps[-1] == 60
    assert WEIGHTS in record["files"]
    for stage in ("hypotheses", "distributions"):
        assert any(re.search(rf"x/{stage}/[^/]+/{RECORD}$", name) for name in names)
    local = [path.name for path in (tmp_path / "cache").rglob("checkpoints")]
    assert local == [], "the driver's machine has trained nothing"
