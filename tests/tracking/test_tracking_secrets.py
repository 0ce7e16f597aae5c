"""A password that a URI holds is in nothing that is printed, logged, raised or stored."""

import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG
from rich.console import Console

from kdray.artifacts import Store
from kdray.command import exit_codes
from kdray.config.execution import TrackingConfig
from kdray.config.experiment import Experiment
from kdray.errors import DataError, InputError, redact
from kdray.progress import Display
from kdray.runner.runs import StudyRuns
from kdray.tracking import MlflowTracker, open_tracker
from kdray.tracking.store import connect, public

SECRET = "hun#te:r2"
ENCODED = "hun%23te%3Ar2"


@pytest.fixture
def server():
    """Answers every request with an empty object, and remembers who asked."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            body = b'{"run": {"info": {"run_id": "r", "run_name": "n", "experiment_id": "1"}}}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        yield here.server_port, asked
        here.shutdown()


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What connecting sets in the environment is taken back."""
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, "")


@pytest.mark.slow
@pytest.mark.usefixtures("own_environment")
def test_mlflow_sends_the_password_and_is_not_told_where_it_came_from(server, capfd, caplog):
    port, asked = server
    tracker = MlflowTracker(f"http://ann:{ENCODED}@127.0.0.1:{port}", "1")
    tracker.finish("r", "FINISHED")
    assert asked
    assert all(str(each).startswith("Basic ") for each in asked)
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == SECRET
    shown = "".join(capfd.readouterr()) + caplog.text + repr(tracker)
    assert "View run" not in shown
    for secret in (SECRET, ENCODED, "hun"):
        assert secret not in shown
    client = connect(tracker.uri)
    assert "hun" not in client.tracking_uri


@pytest.mark.slow
@pytest.mark.usefixtures("own_environment")
def test_what_cannot_be_reached_is_told_without_it(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for password in (ENCODED, "hun/te r2", "hun'ter", "@hun@"):
        config = TrackingConfig(uri=f"http://ann:{password}@127.0.0.1:9")
        with pytest.raises(InputError) as refused:
            open_tracker(config, storage=tmp_path, experiment="x")
        assert "hun" not in str(refused.value) + caplog.text


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://ann:a@b@host:1/p", "https://host:1/p"),
        ("http://host", "http://host"),
        ("postgresql://ann:x@host/db", "postgresql://ann:x@host/db"),
        ("sqlite:////a@b/c.db", "sqlite:////a@b/c.db"),
    ],
)
def test_only_a_server_is_told_its_credentials_apart(uri, told):
    assert public(uri) == told


def test_no_way_out_of_a_command_holds_it(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    @exit_codes()
    def command():
        log = logging.getLogger("any")
        log.warning("at %s", f"s3://key:{SECRET}@bucket")
        log.warning("failed", exc_info=ValueError(f"https://ann:{SECRET}@host"))
        Display(Console()).note(f"postgresql://ann:{SECRET}@host/db failed")
        raise DataError(f"https://host/x?user=ann&token={SECRET}&y=1: no such file")

    with pytest.raises(SystemExit):
        command()
    shown = "".join(capsys.readouterr())
    assert shown.count("***") == 4
    assert SECRET not in shown


def test_a_storage_is_known_without_it(monkeypatch, tmp_path):
    monkeypatch.setattr("kdray.storage.location.remote_storage", lambda uri: None)
    monkeypatch.setattr("kdray.storage.location.prove_usable", lambda *_, **__: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store.open(f"toy://key:{SECRET}@bucket/a")
    assert "hun" not in f"{store}{store.root}"
    assert store.remote == f"toy://key:{SECRET}@bucket/a"


@pytest.mark.parametrize(
    "url",
    [
        "sftp://ann:{}@host/corpus",
        "https://host/a.gz?X-Amz-Credential={}&x=1",
        "https://host/a.gz?x=1&X-Amz-Signature={}",
        "https://host/a.gz?se=2027&sig={}",
        "https://host/a.gz?X-Goog-Signature={}",
    ],
)
def test_a_url_is_told_without_it(url):
    told = redact(f"a {url.format('hunter2')} b")
    assert told == f"a {url.format('***').replace('ann:***', '***')} b"
    assert redact("https://host/a?design=x&sign=y") == "https://host/a?design=x&sign=y"


@pytest.mark.slow
def test_urls_of_a_corpus_are_tracked_without_it(tmp_path: Path, storage: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes((storage / "mlflow.db").read_bytes())
    raw = yaml.safe_load(CONFIG)
    url = "https://host/{}.gz?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2"
    pair = {"src": url.format("src"), "tgt": "here.tgt"}
    raw["recipe"]["corpus"] = {
        "kind": "files", "folder": "sftp://user:hunter2@host/corpus", "src_lang": "src",
        "tgt_lang": "tgt", "train": {"format": "mixture", "sources": {"main": pair}},
        "dev": pair, "tests": {"test": pair},
    }  # fmt: skip
    experiment = Experiment.model_validate(raw)
    runs = StudyRuns.open(experiment, Store(tmp_path))
    params = runs.tracker._client.get_run(runs.parent).data.params
    assert params["corpus.folder"] == "sftp://***@host/corpus"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "config.yaml" in {path.name for path in files}
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


@pytest.mark.slow
def test_a_terminal_without_a_character_is_shown_another(tmp_path: Path) -> None:
    script = (
        "from kdray.command import exit_codes\nfrom kdray.errors import DataError\n"
        "with exit_codes():\n    print('± ü 训练 \\udcff')\n    raise DataError('ü 训练 \\udcff')"
    )
    for encoding in ("ascii", "latin-1", "utf-8", "ascii:strict"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stdout.startswith("± ".encode(encoding.partition(":")[0], "replace"))
