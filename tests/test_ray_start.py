"""A Ray that does not come up is one message with exit code 2, in a bounded time."""

import os
import subprocess
import sys
import threading
import time

import micro_study
import pytest
import ray

from kdray.cluster import session as sessions
from kdray.cluster import start
from kdray.cluster.address import cluster_address
from kdray.cluster.session import session, where
from kdray.config.execution import Execution
from kdray.errors import InputError

SCRIPT = """
import sys
from kdray.command import exit_codes
from kdray.cluster.session import session
from kdray.config.execution import Execution
with exit_codes(), session(Execution.model_validate_json(sys.argv[1])):
    import ray
    print("up", ray.get(ray.remote(lambda: 1).remote()))
"""


def bring_up(execution, **environment):
    """Start Ray as a command does, in a process of its own. -> the process, and its seconds.

    What a session of Ray in this process has left in the environment (RAY_AUTH_MODE) stays here.
    """
    inherited = {name: value for name, value in os.environ.items() if "RAY_AUTH" not in name}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, execution.model_dump_json()],
        env=inherited | {name: str(value) for name, value in environment.items()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done, time.monotonic() - began


def is_one_message(done, *words):
    """Exit code 2, and nothing on standard error but one message that holds the words."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    message = " ".join(done.stderr.split())
    assert len(message) < 900, message
    assert "Traceback" not in message
    assert "rpc_client.h" not in message
    for word in words:
        assert word in message
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RAY_ADDRESS": "http://127.0.0.1:8265"},
         ["RAY_ADDRESS http://127.0.0.1:8265", "Invalid Ray address"]),
        ({"RAY_ADDRESS": "nonsense"}, ["RAY_ADDRESS nonsense", "Invalid address format"]),
        ({"RAY_AUTH_TOKEN_PATH": "/absent/token"}, ["RAY_AUTH_TOKEN_PATH", "/absent/token"]),
        ({"HOME": "/proc/absent"}, ["/proc/absent", "~/.ray"]),
        ({"RAY_ADDRESS": "127.0.0.1:1", "RAY_AUTH_MODE": "token", "HOME": "/proc/absent"},
         ["RAY_ADDRESS 127.0.0.1:1", "no authentication token was found", "RAY_AUTH_TOKEN_PATH"]),
    ],
)  # fmt: skip
def test_what_ray_refuses_is_told_in_its_words(environment, words):
    done, seconds = bring_up(Execution(), **environment)
    assert is_one_message(done, *words)
    assert seconds < 60


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_given_up_in_time():
    done, seconds = bring_up(Execution(address="127.0.0.1:1", connect_seconds=8))
    assert is_one_message(done, "execution.address 127.0.0.1:1", "within 8 s", "Failed to connect")
    assert seconds < 60


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_cluster_that_wants_a_token_says_so_and_one_with_it_is_joined(tmp_path):
    head = subprocess.Popen(
        [sys.executable, "-c",
         "import ray; ray.init('local', num_cpus=1, include_dashboard=False, log_to_driver=False);"
         "print(ray.get_runtime_context().gcs_address, flush=True); input()"],
        env={**os.environ, "HOME": str(tmp_path)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = head.stdout.readline().strip()
        execution = Execution(connect_seconds=6)
        absent, _ = bring_up(execution, HOME=tmp_path / "other", RAY_ADDRESS=address)
        assert is_one_message(absent, f"RAY_ADDRESS {address}", "InvalidAuthToken", "RAY_AUTH_MODE")
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": tmp_path / ".ray" / "auth_token"}
        joined, _ = bring_up(execution, RAY_ADDRESS=address, **token)
        assert (joined.returncode, joined.stdout) == (0, "up 1\n"), joined.stderr
    finally:
        head.communicate("\n")


@pytest.mark.ray
@pytest.mark.slow
def test_a_local_session_comes_up_and_says_nothing():
    done, _ = bring_up(Execution(cpus=1))
    assert (done.returncode, done.stdout, done.stderr) == (0, "up 1\n", "")


@pytest.mark.slow
def test_a_start_that_hangs_is_given_up(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    goes_on = threading.Event()
    monkeypatch.setattr(ray, "init", lambda **_: goes_on.wait())
    with (
        pytest.raises(InputError, match=r"within 0\.2 s.*execution\.start_seconds 0\.2"),
        session(Execution(start_seconds=0.2)),
    ):
        pytest.fail("it came up")
    goes_on.set()


def test_a_node_for_which_ray_does_not_wait_is_started_again(monkeypatch):
    tries = []

    def init(**_):
        tries.append(1)
        if len(tries) < 3:
            raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr(ray, "init", init)
    start.bring_up(60.0)()
    assert len(tries) == 3


def test_what_was_too_slow_in_all_is_told_with_the_whole_time(monkeypatch):
    tries = []

    def init(**_):
        tries.append(1)
        if len(tries) > 1:
            time.sleep(5)
        raise Exception("The current node timed out during startup")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(start.NotStarted, match=r"no answer within 2 s"):
        start.bring_up(2.0)


@pytest.mark.parametrize(
    "error", [RuntimeError("disk\nfull"), OSError(28, "disk full"), KeyError()]
)
def test_whatever_ray_raises_is_the_users_message(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(ray, "init", fail)
    words = "KeyError" if isinstance(error, KeyError) else "disk full"
    with pytest.raises(InputError, match=words), session(Execution(address="10.0.0.1:6379")):
        pytest.fail("it came up")


@pytest.mark.parametrize(
    ("given", "variable", "address", "shown"),
    [
        (None, None, None, "local session"),
        (None, "10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:1 (RAY_ADDRESS)"),
        ("10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:1 (execution.address)"),
        (None, "local", None, "local session"),
        ("local", "10.0.0.1:1", None, "local session"),
    ],
)
def test_the_address_that_is_used_is_the_one_that_is_shown(
    monkeypatch, given, variable, address, shown
):
    monkeypatch.setattr(sessions.ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    execution = Execution(address=given)
    assert (cluster_address(execution), where(execution)) == (address, shown)


@pytest.mark.slow
def test_a_cluster_that_cannot_be_joined_is_known_before_anything_is_made(tmp_path, monkeypatch):
    config = tmp_path / "micro.yaml"
    config.write_text(micro_study.CONFIG)
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    done = micro_study.run("train", config, tmp_path / "runs", "execution.tracking.enabled=false")
    assert is_one_message(done, "RAY_ADDRESS nonsense")
    assert "nonsense (RAY_ADDRESS)" in done.stdout
    assert not (tmp_path / "runs" / "corpus").exists()
