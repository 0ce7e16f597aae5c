"""Are database and artifacts in the storage, whatever it is called and wherever it was moved?"""

import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils
from mlflow.utils.file_utils import local_file_uri_to_path
from tracking_probe import start

from kdray.config.execution import TrackingConfig
from kdray.errors import InputError
from kdray.tracking import open_tracker
from kdray.tracking.store import own_database, sqlite_uri

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "ä%3F?c#d%&e=f"])
def test_all_is_inside_a_storage_of_any_name(tmp_path: Path, storage: Path, name: str) -> None:
    folder = tmp_path / "beside" / name
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes((storage / "mlflow.db").read_bytes())  # made in seconds
    tracker = open_tracker(TrackingConfig(), storage=folder, experiment="first")
    tracker.log_config(start(tracker), {"a": 1})
    assert [path.name for path in folder.parent.iterdir()] == [name]
    assert [path.name for path in (folder / "mlartifacts").glob("*/artifacts/*")] == ["config.yaml"]


@pytest.mark.parametrize("name", ["a?b", "a%20b"])
def test_so_is_a_database_that_is_named_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: Path, name: str
) -> None:
    folder = tmp_path / "beside" / name
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "own.db").write_bytes((storage / "mlflow.db").read_bytes())
    config = TrackingConfig(uri="sqlite:///own.db")
    assert start(open_tracker(config, storage=folder / "runs", experiment="another"))
    assert [path.name for path in folder.parent.iterdir()] == [name]
    with sqlite3.connect(folder / "own.db") as database:
        assert database.execute("SELECT name FROM experiments WHERE name = 'another'").fetchall()


def test_a_path_that_would_be_misread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Url:
        database = "/a"

    monkeypatch.setattr("sqlalchemy.make_url", lambda uri: Url)
    with pytest.raises(InputError, match=r"/a\?b/x\.db: .* would open /a instead"):
        sqlite_uri(Path("/a?b/x.db"))


def test_artifacts_of_a_moved_storage_are_in_its_new_place(tmp_path: Path, storage: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new place"
    old.mkdir()
    (old / "mlflow.db").write_bytes((storage / "mlflow.db").read_bytes())
    tracker = open_tracker(TrackingConfig(), storage=old, experiment="moved")
    before = start(tracker)
    tracker.log_config(before, {"made": "before"})
    there = MlflowClient(own_database(old))
    (tmp_path / "weights").write_text("of the model")
    logged = there.create_logged_model(tracker.experiment_id, name="student")
    there.log_model_artifact(logged.model_id, str(tmp_path / "weights"))
    there.finalize_logged_model(logged.model_id, "READY")
    logged = there.get_logged_model(logged.model_id)
    there.create_registered_model("student")
    source = logged.artifact_location
    there.create_model_version("student", source, run_id=before, model_id=logged.model_id)
    old.rename(new)
    utils._artifact_repos_cache.clear()  # as in the process of another command
    tracker = open_tracker(TrackingConfig(), storage=new, experiment="moved")
    after = start(tracker)
    tracker.log_config(after, {"made": "after"})
    tracker.log_artifacts(before, new / "mlartifacts" / after / "artifacts", "later")
    assert not old.exists()
    client = MlflowClient(own_database(new))
    moved = client.get_logged_model(logged.model_id).artifact_location
    version = client.get_model_version("student", "1")
    for place in (moved, version.source, client.get_model_version_download_uri("student", "1")):
        assert Path(local_file_uri_to_path(place), "weights").read_text() == "of the model"
    assert [each.path for each in client.list_artifacts(before)] == ["config.yaml", "later"]
    assert "before" in (new / "mlartifacts" / before / "artifacts" / "config.yaml").read_text()
    assert "after" in (new / "mlartifacts" / after / "artifacts" / "config.yaml").read_text()


def test_a_copied_storage_writes_nothing_to_its_original(tmp_path: Path, storage: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "mlflow.db").write_bytes((storage / "mlflow.db").read_bytes())
    original = set(storage.rglob("*"))
    tracker = open_tracker(TrackingConfig(), storage=copy, experiment="first")
    tracker.log_config(start(tracker), {"a": 1})
    assert set(storage.rglob("*")) == original


def test_a_study_may_be_called_as_the_experiment_that_mlflow_makes_itself(
    tmp_path: Path, storage: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes((storage / "mlflow.db").read_bytes())
    tracker = open_tracker(TrackingConfig(), storage=tmp_path, experiment="Default")
    tracker.log_config(start(tracker), {"a": 1})
    assert list((tmp_path / "mlartifacts").glob("*/artifacts/config.yaml"))
