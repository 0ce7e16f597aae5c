"""A real MLflow store for all tests, an experiment for each test, and a server that is gone."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from kdray.config.execution import TrackingConfig
from kdray.tracking import MlflowTracker, Tracker, open_tracker


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a store")  # a space, as user folders have
    open_tracker(TrackingConfig(), storage=folder, experiment="first")
    return folder


@pytest.fixture(scope="session")
def client(storage: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")


@pytest.fixture
def tracker(storage: Path, request: pytest.FixtureRequest) -> Tracker:
    return open_tracker(TrackingConfig(), storage=storage, experiment=request.node.name)


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> MlflowTracker:
    """A tracker whose server is gone."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return MlflowTracker("http://ann:hunter2@127.0.0.1:9", "1")
