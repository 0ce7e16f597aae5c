"""Does a tracker that fails stop nothing, and lose nothing that can be kept?"""

import logging
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracking_probe import curve, expected, row, start

from kdray.tracking import MlflowTracker, Tracker, mlflow_tracker

pytestmark = pytest.mark.slow


def test_dead_server_stops_nothing_and_is_told_once(
    dead: MlflowTracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert start(dead) == ""
    assert start(dead, "kept") == "kept"
    for run_id in ("", "kept"):
        dead.log_history(run_id, [row(1)])
        assert dead.last_step(run_id) == -1
        dead.log_scores(run_id, {"test-x/bleu": 1.0})
        dead.log_config(run_id, {"a": 1})
        dead.log_artifacts(run_id, tmp_path, "x")
        with dead.system_metrics(run_id):
            pass
        dead.finish(run_id, "FINISHED")
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sum("opening a run" in message for message in warnings) == 1
    assert any("1 points of its curves are not in MLflow" in message for message in warnings)
    assert "hunter2" not in caplog.text
    assert "Traceback" not in caplog.text


def test_points_wait_until_mlflow_is_back(
    tracker: Tracker, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_tracker, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(mlflow_tracker, "RETRY_COST", 0)
    run_id = start(tracker)
    tracker.log_history(run_id, [row(1)])
    client.delete_run(run_id)  # MLflow refuses to write deleted runs
    tracker.log_history(run_id, [row(2)])
    client.restore_run(run_id)
    tracker.log_history(run_id, [row(3)])
    assert curve(client, run_id) == expected(3)


def test_failed_mlflow_is_left_alone_but_asked_again_at_the_end(
    tracker: Tracker, client: MlflowClient
) -> None:
    run_id = start(tracker)
    client.delete_run(run_id)
    tracker.log_history(run_id, [row(1)])
    client.restore_run(run_id)
    tracker.log_history(run_id, [row(2)])
    assert curve(client, run_id) == []
    tracker.finish(run_id, "FINISHED")
    assert curve(client, run_id) == expected(2)
