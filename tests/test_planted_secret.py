"""A password that is planted in the URI of a tracking server turns up nowhere else."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
import yaml
from micro_study import CONFIG, command

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

SECRET = "hunter2planted"


@pytest.fixture
def server(tmp_path):
    """A tracking server in a folder of its own. -> its port, and the folder."""
    with closing(socket.socket()) as here:
        here.bind(("127.0.0.1", 0))
        port = here.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    place = ["--backend-store-uri", f"sqlite:///{folder}/x.db", "--artifacts-destination", folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *place],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            break
        time.sleep(0.5)
    yield port, folder
    below = psutil.Process(process.pid).children(recursive=True)
    for each in (*below, process):
        with suppress(psutil.Error):
            each.terminate()
    process.wait(timeout=60)


@pytest.fixture
def ray_folder():
    """Where Ray keeps its files: a short path, for the sockets in it."""
    folder = tempfile.mkdtemp(prefix="kd")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def holders(*folders):
    """Files that hold it, in their names or contents."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    return [
        path for path in files if SECRET in str(path) or SECRET.encode() in path.read_bytes()
    ]  # fmt: skip


def titles(process):
    """Command lines and titles of a process and all below it."""
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                yield " ".join(each.cmdline())


def test_a_planted_password_turns_up_nowhere(tmp_path, server, ray_folder):
    port, of_server = server
    raw = yaml.safe_load(CONFIG)
    uri = f"http://ann:{SECRET}@127.0.0.1:{port}"
    raw["execution"]["tracking"] = {"uri": uri}
    config, storage = tmp_path / "micro.yaml", tmp_path / "storage"
    config.write_text(yaml.safe_dump(raw))
    leaves_its_folder = {"KDRAY_RAY_INTERNALS": "0"}  # of Ray's logs, which are searched too
    with (tmp_path / "shown.txt").open("w") as shown:
        driver = subprocess.Popen(
            command("tune", config, storage, "search.retrain=null"),  # teacher, signals and trials
            env={**os.environ, "RAY_TMPDIR": str(ray_folder), **leaves_its_folder},
            stdout=shown, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while driver.poll() is None:
            assert not [line for line in titles(psutil.Process(driver.pid)) if SECRET in line]
            time.sleep(1)
    said = (tmp_path / "shown.txt").read_text()
    assert driver.returncode == 0, said
    assert SECRET not in said
    assert "View run" not in said
    assert "failed, which stops nothing else" not in said
    assert list(of_server.glob("**/artifacts/config.yaml")), "the server was used"
    assert list(ray_folder.glob("**/session_*")), "and so was the folder of Ray"
    assert holders(storage, of_server, ray_folder) == []
