"""The command: what it refuses, and a server on Ray that answers, goes on and ends in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import psutil
import pytest

from kdray.__main__ import app
from kdray.command import exit_codes

ROOT = Path(__file__).parents[2]
ASKED = {"q": "ba de fi", "source": "de", "target": "en"}
KEY = "open-sesame-7"


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["serve", *map(str, arguments)], standalone_mode=False)
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/model", "--languages", "de-en"], "neither the folder of a model"),
        (["0123456789abcdef", "--languages", "de-en"], "no such model in"),
        (["{model}"], "between which languages does it translate?"),
        (["{model}", "--languages", "german"], "--languages german: is no pair"),
        (["{model}", "--languages", "de-en", "--languages", "fr-en"], "2 pairs for 1 models"),
        (["{model}", "{model}", "--languages", "de-en"], "is given twice"),
        (["{model}", "--set", "a=1"], "name one with --config"),
        (["{model}", "--max-request", "much"], "--max-request 'much' is no size"),
        (["{model}", "--max-waiting", "3"], "--max-waiting 3: a request may have 256"),
        (["{model}", "--host", "192.0.2.1"], "--host 192.0.2.1: cannot be listened on"),
        (["{model}", "--api-key-file", "absent"], "--api-key-file absent: cannot be read"),
        (["{model}", "--api-key-file", "empty"], "--api-key-file empty: is empty"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_message(
    arguments, words, student, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    message = refused(
        capsys, *(each.format(model=student) for each in arguments), "--port", free_port()
    )
    assert words in message
    assert "Traceback" not in message


def test_a_ray_without_tokens_is_refused(student, capsys, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    message = refused(capsys, student, "--languages", "de-en", "--port", free_port())
    assert "RAY_AUTH_MODE disabled: Ray's own ports are open" in message


def test_a_port_in_use_is_one_message(student, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(capsys, student, "--languages", "de-en", "--port", port)
    assert f"--port {port}: is in use on 127.0.0.1" in message


def ask(url, body=None, kind="application/json"):
    """-> status and value of an answer."""
    request = Request(url, data=body, headers={"content-type": kind} if body is not None else {})
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def short_folder():
    """A folder for Ray, whose sockets have short names; that of a test is too long."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.ray
@pytest.mark.slow
def test_a_server_answers_goes_on_and_ends_in_order(student, tmp_path, short_folder):
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    line = [sys.executable, "-m", "kdray.serve", str(student), "--languages", "de-en"]
    line += ["--port", str(port), "--threads", "1", "--start-seconds", "240"]
    environment = {k: v for k, v in os.environ.items() if "RAY" not in k}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "KDRAY_API_KEY": KEY,
        "RAY_TMPDIR": str(short_folder),
    }
    with log.open("wb") as err:
        server = subprocess.Popen(line, stderr=err, stdout=err, env=environment)
    try:
        while "Serving" not in log.read_text():
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        assert listens_on_loopback_alone(port)
        assert_no_process_answers_without_a_token(server.pid)
        asked = json.dumps(ASKED | {"api_key": KEY}).encode()
        status, first = ask(f"{url}/translate", asked)
        assert status == 200
        assert isinstance(first["translatedText"], str)
        assert ask(f"{url}/health") == (200, {"status": "ok"})
        assert ask(f"{url}/translate", json.dumps(ASKED).encode())[0] == 403
        for body, expected in ((b"{", 400), (b"x" * 1_000_000, 413), (b"", 400)):
            status, value = ask(f"{url}/translate", body)
            assert (status, list(value)) == (expected, ["error"])
        assert ask(f"{url}/translate", asked) == (200, first)
        files = [path for path in short_folder.rglob("logs/**/*") if path.is_file()]
        assert any("serve" in path.parts for path in files)
        for path in files:
            assert KEY not in path.read_text(errors="replace"), path
        server.send_signal(signal.SIGTERM)
        assert server.wait(90) == 143
    finally:
        server.kill()
        server.wait()
    told = log.read_text()
    assert "Traceback" not in told
    assert KEY not in told


def assert_no_process_answers_without_a_token(pid):
    """Each replica has a port of Ray Serve's, open to other machines, that would run code."""
    replicas = [
        each
        for each in psutil.Process(pid).children(recursive=True)
        if "ServeReplica" in " ".join(each.cmdline())
    ]
    codes = set()
    for replica in replicas:
        for each in replica.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN:
                with grpc.insecure_channel(f"127.0.0.1:{each.laddr.port}") as channel:
                    ask = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
                    with pytest.raises(grpc.RpcError) as refused:
                        ask(b"", timeout=20)
                codes.add(refused.value.code())
    assert grpc.StatusCode.UNAUTHENTICATED in codes
    assert codes <= {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,  # another port
        grpc.StatusCode.UNAVAILABLE,  # of another address
    }


def listens_on_loopback_alone(port):
    """Whether every socket that listens on a port of this machine is on 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    places = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    return places == [f"0100007F:{port:04X}"]
