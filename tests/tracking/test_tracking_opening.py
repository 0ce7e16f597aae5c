"""Is a tracker that cannot work refused before anything runs, and made alike everywhere?"""

import contextlib
import pickle
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient, environment_variables
from tracking_probe import start

from kdray.config.execution import TrackingConfig
from kdray.errors import InputError
from kdray.tracking import MlflowTracker, Tracker, open_tracker
from kdray.tracking.store import connect, redact

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "uri",
    [
        "http://ann:hunter2@127.0.0.1:9",
        "postgresql+nodriver://ann:hunter2@127.0.0.1:9/db",
        "nonsense://ann:hunter2@here",
        "ann:hunter2@127.0.0.1:9",
        "//ann:hunter2@127.0.0.1:9",
        "http:/ann:hunter2@127.0.0.1:9",
        "sqlite:///:memory:",
        "sqlite://",
        "sqlite:///{tmp}/file/mlflow.db",
        "sqlite:///{tmp}/file",
        "{tmp}/mlruns",
    ],
)
def test_unusable_uri_is_the_users_error(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "file").write_text("not a database, not a folder")
    config = TrackingConfig(uri=uri.format(tmp=tmp_path))
    with pytest.raises(InputError, match=r"execution\.tracking\.uri") as raised:
        open_tracker(config, storage=tmp_path, experiment="x")
    assert "hunter2" not in str(raised.value) + caplog.text


@pytest.mark.parametrize(("own", "used"), [(None, 2), ("5", 5)])
def test_dead_server_is_given_up_soon_unless_the_user_says_otherwise(
    own: str | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    if own is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", own)
    connect("http://127.0.0.1:9")
    assert environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == used


def test_deleted_experiment_is_not_written(tracker: MlflowTracker, client: MlflowClient) -> None:
    experiment = client.get_experiment(tracker.experiment_id)
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore"):
        open_tracker(TrackingConfig(uri=tracker.uri), storage=Path(), experiment=experiment.name)


def test_a_store_that_cannot_be_written_is_refused(storage: Path, tmp_path: Path) -> None:
    copy = shutil.copyfile(storage / "mlflow.db", tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(copy)) as database:
        database.executescript(
            "DELETE FROM experiment_tags; CREATE TRIGGER full BEFORE INSERT ON experiment_tags "
            "BEGIN SELECT RAISE(ABORT, 'read only'); END"
        )
    with pytest.raises(InputError, match=r"(?s)execution\.tracking\.uri .*read only"):
        open_tracker(TrackingConfig(uri=f"sqlite:///{copy}"), storage=tmp_path, experiment="first")


def test_a_folder_in_the_place_of_the_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(InputError, match=r"mlflow\.db: is a folder; move it away"):
        open_tracker(TrackingConfig(), storage=tmp_path, experiment="x")


def test_same_tracker_in_another_process(
    tracker: MlflowTracker, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start(tracker)  # an open connection does not travel
    other = pickle.loads(pickle.dumps(tracker))
    assert other == tracker
    assert start(other)
    monkeypatch.chdir(storage)
    relative = TrackingConfig(uri="sqlite:///mlflow.db", system_metrics=False)
    reopened = open_tracker(relative, storage=storage, experiment="first")
    assert reopened == MlflowTracker(tracker.uri, "1", with_system_metrics=False)
    assert "mlflow.db" not in repr(reopened)


def test_two_drivers_make_one_database(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from kdray.config.execution import TrackingConfig\n"
        "from kdray.tracking import open_tracker\n"
        "tracker = open_tracker(TrackingConfig(), storage=Path(sys.argv[1]), experiment='x')\n"
        "print(tracker.experiment_id)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    ids = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(ids) == 1


def test_tracking_switched_off_keeps_known_run_ids(tmp_path: Path) -> None:
    off = open_tracker(TrackingConfig(enabled=False), storage=tmp_path, experiment="x")
    assert type(pickle.loads(pickle.dumps(off))) is Tracker
    assert (start(off), start(off, "kept")) == ("", "kept")
    assert list(tmp_path.iterdir()) == []


def test_mlflow_is_imported_late() -> None:
    script = "import sys, kdray.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@settings(deadline=None)
@given(st.text("abc:/@%$.-", min_size=1), st.sampled_from(["https", "postgresql+psycopg"]))
def test_no_credential_survives_redaction(noise: str, scheme: str) -> None:
    secret = f"ann:hun{noise}ter2"
    told = redact(f"request to {scheme}://{secret}@host:80/db?user=a&password={secret} failed")
    assert "hun" not in told
    assert "ter2" not in told
    assert told.startswith(f"request to {scheme}://***")
    assert told.endswith(" failed")
